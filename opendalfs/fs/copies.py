"""Copies of objects, files and trees: on the server when it can, else through this process."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from glob import has_magic
from itertools import islice
from typing import Any, Final, NamedTuple

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.utils import other_paths

from opendalfs.errors import OptionError
from opendalfs.listing.info import Info
from opendalfs.read.async_reader import fetch_pinned
from opendalfs.read.plan import PinnedObject
from opendalfs.read.ranges import Range
from opendalfs.runtime.tasks import gather
from opendalfs.services import Locality
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version
from opendalfs.write.async_writer import put_copy, put_parts
from opendalfs.write.options import check_parts, copy_target, keep_metadata, write_target
from opendalfs.write.parts import part_ranges, part_size

from .base import BaseFileSystem, parent_directory
from .directories import create_directory, is_directory_only
from .expansion import expand

__all__ = [
    "CopyJob",
    "copy_file",
    "copy_listed",
    "copy_object",
    "count_copied",
    "plan_copies",
    "target_paths",
]

_COPY_PARTS: Final = 4
"""Parts that a copy through this process holds in memory at a time."""

_LARGEST_SERVER_COPY: Final = 5_000_000_000
"""Largest object in bytes that S3 copies with one request (AWS API reference, "CopyObject")."""

_NOT_OF_SIZE: Final = (
    ConnectionError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    TimeoutError,
)
"""Errors of a server's copy that the size of the object does not cause."""


class CopyJob(NamedTuple):
    """One file or directory to copy. `info` is None when no listing has shown the source."""

    source: str
    target: str
    info: Info | None

    @property
    def is_directory(self) -> bool:
        """Whether a listing shows the source as a directory."""
        return self.info is not None and self.info["type"] == "directory"


async def copy_object(
    source: Connection, key: str, target: Connection, target_key: str, **options: Any
) -> None:
    """Copy an object and replace what is at the target.

    The server copies when both connections are the same and the service can; otherwise the bytes pass
    through this process, a few parts at a time. If the copy fails, or the object changes meanwhile, the
    target keeps its previous content. The options are those of `copy_target` for a copy on the server, else
    those of `write_target`.

    Raises
    ------
    OptionError
        If an upload in parts would lose what the service stores with the object.
    """
    if source is target and source.can("copy"):
        source = target = copy_target(source, options)
        options = {}
        try:
            await put_copy(source, key, target_key)
            return
        except _NOT_OF_SIZE:
            raise
        except OSError:
            if not await _is_too_large(source, key):
                raise
    await _copy_parts(source, key, target, target_key, options)


async def _is_too_large(connection: Connection, key: str) -> bool:
    """Whether an object is too large for its server to copy it with one request."""
    if connection.service.locality is not Locality.REMOTE:
        return False
    with suppress(OSError):
        return (await connection.stat(key)).content_length > _LARGEST_SERVER_COPY
    return False


async def _copy_parts(
    source: Connection, key: str, target: Connection, target_key: str, given: Mapping[str, Any]
) -> None:
    target, options = write_target(target, given)
    metadata = await source.stat(key)
    if metadata.is_dir:
        raise IsADirectoryError(errno.EISDIR, "Is a directory", key)
    version = Version.of(source, key, metadata)
    size = version.size
    part = part_size(target, size, chunk=options.get("chunk"))
    options = keep_metadata(target, metadata, options)
    if size > part and target.can("write_can_multi"):
        check_parts(target, options)
    if source.service.scheme == "ftp" and size <= part:
        # A read of a range leaves the FTP server's reply 226 unread, which the write may take for its own.
        parts = _read_whole(source, key)
    else:
        parts = _read_parts(PinnedObject(source, key, version, held=True), part_ranges(size, part))
    await put_parts(target, target_key, parts, size, **options)


async def _read_whole(source: Connection, key: str) -> AsyncIterator[bytes]:
    yield await source.read(key, 0, None)


async def _read_parts(pinned: PinnedObject, ranges: Iterator[Range]) -> AsyncIterator[bytes]:
    while some := list(islice(ranges, _COPY_PARTS)):
        for data in await fetch_pinned(pinned, some):
            yield data


async def copy_file(
    fs: BaseFileSystem, source: str, target: str, target_fs: BaseFileSystem | None = None, **options: Any
) -> bool:
    """Copy a file and replace the file at the target; return False, and copy nothing, for a directory.

    The target, on `target_fs` or else on `fs`, is the path of the copy itself, never a directory to copy
    into. The options are those of `copy_object`.
    """
    target_fs = target_fs or fs
    connection, key = fs.locate(source)
    target_connection, target_key = target_fs.locate_for_writing(target)
    if not key or (connection.can("rename") and not await fs._isfile(source, refresh=True)):
        # Where directories are real, the service would copy one with all that is in it.
        await fs._info(source)
        return False
    if connection is target_connection and key == target_key and not options:
        await fs._info(source)
        return True
    try:
        await copy_object(connection, key, target_connection, target_key, **options)
    except OptionError:
        raise
    except OSError as exc:
        if not await is_directory_only(fs, source, exc):
            raise
        return False
    finally:
        target_fs.invalidate_cache(target)
    return True


async def plan_copies(
    fs: BaseFileSystem, source: Any, target: Any, recursive: bool, maxdepth: int | None, follow: bool
) -> list[CopyJob]:
    """List what to copy where, by fsspec's rules for patterns and for targets that are directories.

    `follow` lists what links to directories lead to, rather than the links.
    """
    if isinstance(source, list) and isinstance(target, list):
        pairs = zip(source, target, strict=True)
        return [CopyJob(fs._strip_protocol(one), other, None) for one, other in pairs]
    infos = await expand(fs, source, recursive, maxdepth, follow)
    if isinstance(source, str) and (not recursive or maxdepth is not None):
        # A directory is copied with all that is in it, or not at all.
        infos = {path: info for path, info in infos.items() if info is None or info["type"] == "file"}
    if not infos:
        return []
    targets = await target_paths(fs, source, list(infos), target)
    return [CopyJob(path, target, infos[path]) for path, target in zip(infos, targets, strict=True)]


async def target_paths(fs: BaseFileSystem, source: Any, paths: list[str], target: Any) -> list[str]:
    """Return the path of each copy, by fsspec's rules; `paths` are those that `source` stands for."""
    single = isinstance(source, str)
    is_directory = isinstance(target, str) and (target.endswith("/") or await fs._isdir(target, refresh=True))
    if single and has_magic(source):
        inside = len(paths) == 1
    else:
        inside = single and is_directory and not source.endswith("/")
    targets: list[str] = other_paths(paths, target, exists=inside, flatten=not single)
    return targets


async def copy_listed(
    fs: BaseFileSystem,
    jobs: Sequence[CopyJob],
    limit: int,
    *,
    ignore_missing: bool,
    directories: bool,
    callback: Any = DEFAULT_CALLBACK,
    **options: Any,
) -> None:
    """Copy files, and create the directories that no file implies.

    `callback` is fsspec's, for progress. `ignore_missing` skips a file that is gone by now. A source of
    unknown type that turns out to be a directory is created at its target with `directories`, else skipped.
    """
    parents = {parent_directory(fs, job.source) for job in jobs}
    callback.set_size(len(jobs))

    async def copy_one(job: CopyJob) -> None:
        with callback.branched(job.source, job.target) as child:
            if await copy_job(job):
                await count_copied(fs, job.source, job.info, child)
        callback.relative_update(1)

    async def copy_job(job: CopyJob) -> bool:
        """Return whether a file may have been copied."""
        try:
            if job.info is None and not directories:
                return await copy_file(fs, job.source, job.target, **options)
            if not job.is_directory:
                await fs._cp_file(job.source, job.target, **options)
                return True
            if job.info is not None and (job.info.get("marker") or job.source not in parents):
                await create_directory(fs, job.target)
        except FileNotFoundError:
            if not ignore_missing:
                raise
        return False

    await gather(copy_one, jobs, limit)


async def count_copied(fs: BaseFileSystem, source: str, info: Info | None, callback: Any) -> None:
    """Add the size of a file that was copied to its callback; nothing if its size cannot be found out.

    A request finds out the size if no listing has shown it, but not for the callback that ignores all.
    """
    if callback is DEFAULT_CALLBACK:
        return
    # The copy has succeeded, so it must not fail for its progress.
    with suppress(OSError):
        size = (info or await fs._info(source))["size"] or 0
        callback.set_size(size)
        callback.relative_update(size)
