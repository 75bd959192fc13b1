"""A cache of ranges on disk: each range that was read is kept with the version of its object.

`PinnedObject` of `read.plan` uses it below the planners, so that every reader has it. The modules:

===================  =========================================================================================
`block_cache`        the cache of one directory, and the blocks of one version of an object
`block_file`         the format of a file: one range, with checksums
`folder`             the directory: its owner, its mode, its secret, its layout
`identity`           digests that stand for services, credentials, keys and versions
`space`              the limit on the size, for all processes together; eviction
`background`         writes in a thread of their own
`version_record`     versions that storage has returned, for `cache_ttl`
`report`             `cache_info` and `clear_cache`
===================  =========================================================================================

There is no index that a crash could damage: a block is a file, complete since a rename, and its name is its
range. Whatever fails here counts as a miss.
"""

from .block_cache import BlockCache, CachedRange, ObjectBlocks, cache_of
from .report import CacheInfo, cache_info, clear_cache
from .version_record import VersionRecord, forget_all, record_of

__all__ = [
    "BlockCache",
    "CacheInfo",
    "CachedRange",
    "ObjectBlocks",
    "VersionRecord",
    "cache_info",
    "cache_of",
    "clear_cache",
    "forget_all",
    "record_of",
]
