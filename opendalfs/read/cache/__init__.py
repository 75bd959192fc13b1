"""A cache of ranges on disk: each range that was read is kept with the version of its object.

`PinnedObject` of `read.plan` uses it below the planners, so that every reader has it. The modules:

===================  =========================================================================================
`block_cache`        the cache of one directory, and which connections use it
`object_blocks`      the blocks of one version of an object: what a read finds, and what it adds
`block_file`         the format of a file: one large range, with checksums
`pack`, `packs`      the format of a file of many small records, and what is in these files
`records`            responses to stats and lists, for `cache_ttl`; `metadata`: their form
`folder`             the directory: its owner, its mode, its secret, its layout
`identity`           digests that stand for services, credentials, keys and versions
`space`              the limit on the size, for all processes together; eviction
`background`         writes in a thread of their own
`report`             `cache_info` and `clear_cache`
===================  =========================================================================================

There is no index that a crash could damage: a large block is a file, complete since a rename, and its name is
its range. Small ones are appended to packs, each batch with a table of its own. Whatever fails here counts as
a miss.
"""

from .block_cache import BlockCache, cache_of, identifies
from .object_blocks import CachedRange, ObjectBlocks
from .report import CacheInfo, cache_info, clear_cache

__all__ = [
    "BlockCache",
    "CacheInfo",
    "CachedRange",
    "ObjectBlocks",
    "cache_info",
    "cache_of",
    "clear_cache",
    "identifies",
]
