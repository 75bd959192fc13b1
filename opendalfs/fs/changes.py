"""Changes to what is where: directories are made and removed, files deleted, copied and moved."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from glob import has_magic
from itertools import islice
from typing import Any, Final, NamedTuple

from fsspec.utils import other_paths, stringify_path

from opendalfs.errors import UnsupportedError, redact
from opendalfs.listing import info as listing
from opendalfs.listing.info import Info
from opendalfs.read.async_reader import fetch, gather
from opendalfs.read.ranges import Range
from opendalfs.services import Home
from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import stages_writes
from opendalfs.storage.version import Version
from opendalfs.write.async_writer import put_copy, put_parts
from opendalfs.write.options import part_ranges, part_size
from opendalfs.write.staging import remove_leftovers

from .lookup import Namespace
from .removal import check_removal

__all__ = ["Layout"]

_COPY_PARTS: Final = 4


class _Job(NamedTuple):
    """One thing to copy: from where, to where, and what a listing told of it."""

    source: str
    target: str
    info: Info | None

    @property
    def is_folder(self) -> bool:
        return self.info is not None and self.info["type"] == "directory"


class Layout(Namespace):
    """The part of `OpendalFileSystem` that changes names, and content only by copying it."""

    def _writable(self, path: str) -> tuple[Connection, str]:
        connection, key = self.locate(path)
        connection.require("write", "write")
        if not key:
            raise IsADirectoryError(errno.EISDIR, connection.no_key, redact(path))
        return connection, key

    # Directories

    async def _mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        path = self._strip_protocol(path)
        if await self._exists(path, refresh=True):
            raise FileExistsError(errno.EEXIST, "File exists", redact(path))
        if not create_parents and not await self._isdir(self._above(path)):
            raise FileNotFoundError(errno.ENOENT, "The directory above does not exist", redact(path))
        await self._create(path)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        path = self._strip_protocol(path)
        if not exist_ok:
            await self._mkdir(path)
        elif not await self._isdir(path):
            await self._create(path)

    async def _create(self, path: str) -> None:
        connection, key = self.locate(path)
        if not key:
            raise UnsupportedError(
                f"OpenDAL cannot create {redact(path)!r}: create it with the service's own tools"
            )
        # Stores that keep no directories need none: a name with slashes is enough.
        if connection.can("create_dir"):
            await connection.create_dir(f"{key}/")
            self.invalidate_cache(path)

    async def _rmdir(self, path: str) -> None:
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        if not key:
            raise UnsupportedError(
                f"OpenDAL cannot remove {redact(path)!r}: remove it with the service's own tools"
            )
        connection.require("list", "tell whether a directory is empty")
        found = await listing.children(connection, key)
        if found:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", redact(path))
        # Some servers list a file as an empty directory, and delete it by a directory's name.
        doubtful = found is None or listing.keeps_directories(connection)
        if doubtful and not await self._is_folder(connection, key):
            info = await self._info(path, refresh=True)
            if info["type"] == "file":
                raise NotADirectoryError(errno.ENOTDIR, "Not a directory", redact(path))
        remove_leftovers(connection, key)
        await connection.delete(f"{key}/")
        self.invalidate_cache(path)

    # Removing

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        connection, key = self.locate(path)
        if not connection.is_link(key) and (await self._info(path))["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "Is a directory: pass recursive=True to rm()", redact(path))
        await connection.delete(key)
        self.invalidate_cache(path)

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Remove files and trees; return the paths removed, where a whole tree is named by its root."""
        limit = batch_size or self.batch_size
        path = _paths(path)
        self._check_removal(path, recursive)
        if maxdepth is not None:
            found = await self._expand(path, recursive, maxdepth, follow=False)
            return await self._rm_listed(found, limit)
        # Globs are resolved; a directory is removed by its prefix, not by its files.
        named = await self._expand_path(path, recursive=False)
        if recursive:
            named = _topmost(named)
        await gather(self._rm_tree if recursive else self._rm_file, named, limit)
        return named

    def _check_removal(self, path: str | list[str], recursive: bool) -> None:
        """Raise for paths that must not be removed or moved, before anything is."""
        for one in path if isinstance(path, list) else [path]:
            check_removal(*self.locate(one), one, recursive=recursive)

    async def _rm_listed(self, found: dict[str, Info | None], limit: int) -> list[str]:
        infos = [info or await self._info(path) for path, info in found.items()]
        removed = [info["name"] for info in infos if info["type"] == "file" or info.get("islink")]
        await gather(self._rm_file, tuple(removed), limit)
        for info in sorted(infos, key=lambda info: -len(info["name"])):
            # What was not listed keeps its directory.
            if info["type"] == "directory" and not info.get("islink") and await self._is_empty(info):
                # On some flat keys it went with its last file.
                with suppress(FileNotFoundError):
                    await self._rmdir(info["name"])
                    removed.append(info["name"])
        return removed

    async def _is_empty(self, info: Info) -> bool:
        """Tell whether a directory is there and holds nothing: on flat keys it goes with its last file."""
        return info.get("marker", True) and not await listing.children(*self.locate(info["name"]))

    async def _rm_tree(self, path: str) -> None:
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        check_removal(connection, key, path, recursive=True)
        if connection.is_link(key):
            await self._rm_file(path)
            return
        is_file, is_folder = await asyncio.gather(self._isfile(path), self._is_folder(connection, key))
        if not is_file and not is_folder:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", redact(path))
        if is_folder:
            await connection.remove_all(f"{key}/")
            if listing.keeps_directories(connection) and connection.service.home is Home.REMOTE:
                await self._remove_rest(connection, key, path)
        if is_file:
            await connection.delete(key)
        self.invalidate_cache(path)

    async def _remove_rest(self, connection: Connection, key: str, path: str) -> None:
        """Remove what `remove_all` left of a directory: on FTP that is each directory that holds no file.

        Raises
        ------
        OSError
            When the directory is still there afterwards.
        """
        if not await self._is_folder(connection, key):
            return
        found = await listing.tree(connection, key)
        folders = {f"{key}/"} | {f"{connection.key(i['name'])}/" for i in found if i["type"] == "directory"}
        for info in found:
            if info["type"] == "file":
                await connection.delete(connection.key(info["name"]))
        for folder in sorted(folders, key=len, reverse=True):
            await connection.delete(folder)
        if await self._is_folder(connection, key):
            says = "The service left a part of this directory: list it, then remove it again"
            raise OSError(errno.ENOTEMPTY, says, redact(path))

    # Copying

    async def _copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        on_error: str | None = None,
        maxdepth: int | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy as fsspec's own does, but with what the listing of the source told."""
        jobs = await self._jobs(path1, path2, recursive, maxdepth, follow=True)
        ignore = on_error == "ignore" or (on_error is None and recursive)
        # A single path that turns out to be a directory is left out, as in fsspec.
        folders = not isinstance(path1, str)
        await self._copy_all(jobs, batch_size or self.batch_size, ignore=ignore, folders=folders)

    async def _jobs(
        self, path1: Any, path2: Any, recursive: bool, maxdepth: int | None, follow: bool
    ) -> list[_Job]:
        """Plan what to copy where, by fsspec's rules; `_expand` says what it is to follow."""
        if isinstance(path1, list) and isinstance(path2, list):
            pairs = zip(path1, path2, strict=True)
            return [_Job(self._strip_protocol(source), target, None) for source, target in pairs]
        known = await self._expand(path1, recursive, maxdepth, follow)
        if isinstance(path1, str) and (not recursive or maxdepth is not None):
            # Directories come along with all that is in them, or not at all.
            known = {path: info for path, info in known.items() if info is None or info["type"] == "file"}
        if not known:
            return []
        sources = list(known)
        targets = await self._targets(path1, sources, path2)
        return [_Job(source, target, known[source]) for source, target in zip(sources, targets, strict=True)]

    async def _targets(self, path1: Any, sources: list[str], path2: Any) -> list[str]:
        single = isinstance(path1, str)
        is_folder = isinstance(path2, str) and (path2.endswith("/") or await self._isdir(path2))
        if single and has_magic(path1):
            inside = len(sources) == 1
        else:
            inside = single and is_folder and not path1.endswith("/")
        named: list[str] = other_paths(sources, path2, exists=inside, flatten=not single)
        return named

    async def _copy_all(self, jobs: Sequence[_Job], limit: int, *, ignore: bool, folders: bool) -> None:
        holding = {self._above(job.source) for job in jobs}

        async def one(job: _Job) -> None:
            try:
                if job.info is None and not folders:
                    await self._cp_one(job.source, job.target)
                elif job.info is None or job.info["type"] == "file":
                    await self._cp_file(job.source, job.target)
                elif job.info.get("marker") or job.source not in holding:
                    # Others are implied by the copies of their files.
                    await self._create(job.target)
            except FileNotFoundError:
                if not ignore:
                    raise

        await gather(one, jobs, limit)

    async def _cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        if not await self._cp_one(path1, path2):
            await self._makedirs(path2, exist_ok=True)

    async def _cp_one(self, path1: str, path2: str) -> bool:
        """Copy a file; False when it is a directory."""
        source, key1 = self.locate(path1)
        target, key2 = self._writable(path2)
        if not key1 or (source.can("rename") and not await self._isfile(path1)):
            # Where directories are real a copy takes them with all that is in them.
            await self._info(path1)
            return False
        if source is target and key1 == key2:
            await self._info(path1)
            return True
        try:
            if source is target and source.can("copy"):
                await put_copy(source, key1, key2)
            else:
                await _stream(source, key1, target, key2)
        except OSError:
            # Services refuse to copy a directory each in its own way.
            if await self._isfile(path1) or not await self._is_folder(source, key1):
                raise
            return False
        finally:
            self.invalidate_cache(path2)
        return True

    # Moving

    async def _mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        path1, path2 = _paths(path1), _paths(path2)
        if recursive:
            # A pattern loses nothing: what it matches is moved.
            listed = path1 if isinstance(path1, list) else [path1]
            self._check_removal([one for one in listed if not has_magic(one)], recursive)
        if isinstance(path1, str) and isinstance(path2, str) and not has_magic(path1):
            if await self._mv_one(path1, path2):
                return
            if not recursive:
                raise IsADirectoryError(
                    errno.EISDIR, "Is a directory: pass recursive=True to mv()", redact(path1)
                )
            if maxdepth is None and await self._mv_folder(path1, path2):
                return
        jobs = await self._jobs(path1, path2, recursive, maxdepth, follow=False)
        for job in jobs:
            if job.is_folder:
                _check_outside(job.source, self._strip_protocol(job.target))
        jobs = await self._moving(jobs)
        rest = [job for job in jobs if not self._is_link(job.source)]
        await self._copy_all(rest, self.batch_size, ignore=False, folders=True)
        for job in jobs:
            if self._is_link(job.source):
                await self._mv_one(job.source, job.target)
        # No more than was copied: what another writer adds meanwhile stays.
        await self._rm_listed({job.source: job.info for job in rest}, self.batch_size)

    async def _mv_folder(self, path1: str, path2: str) -> bool:
        """Move a directory of a disk as it is, links and all; False when it is to be moved file by file."""
        source, key1 = self.locate(path1)
        if not key1 or not stages_writes(source):
            return False
        target = (await self._targets(path1, [self._strip_protocol(path1)], path2))[0]
        _check_outside(self._strip_protocol(path1), self._strip_protocol(target))
        if await self._exists(target):
            return False
        try:
            return await _renamed(source, key1, self._writable(target)[1])
        finally:
            self.invalidate_cache(path1)
            self.invalidate_cache(target)

    async def _moving(self, jobs: Sequence[_Job]) -> list[_Job]:
        """Leave out what stays in its place, as it would be removed after its copy; refuse to lose any."""
        places = [(self.locate(job.source), self.locate(job.target)) for job in jobs]
        moving = [job for job, (source, target) in zip(jobs, places, strict=True) if source != target]
        for job, (source, target) in zip(jobs, places, strict=True):
            if source == target:
                await self._info(job.source)
        taken = {source for source, _ in places}
        for job in moving:
            target = self.locate(job.target)
            if target in taken and not job.is_folder:
                raise OSError(
                    errno.EINVAL,
                    "Another of the paths to move is there",
                    redact(job.source),
                    None,
                    redact(job.target),
                )
            taken.add(target)
        return moving

    async def _mv_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        if not await self._mv_one(path1, path2):
            raise IsADirectoryError(
                errno.EISDIR, "Is a directory: pass recursive=True to mv()", redact(path1)
            )

    async def _mv_one(self, path1: str, path2: str) -> bool:
        """Move a file; False when it is a directory."""
        source, key1 = self.locate(path1)
        # A rename takes directories too; a copy tells by itself what is missing.
        if source.can("rename") and not source.is_link(key1) and not await self._isfile(path1):
            await self._info(path1)
            return False
        if path2.endswith("/") or await self._isdir(path2):
            path2 = f"{path2.rstrip('/')}/{self._strip_protocol(path1).rpartition('/')[2]}"
        target, key2 = self._writable(path2)
        if source is target and key1 == key2:
            await self._info(path1)
            return True
        try:
            if source is target and source.can("rename") and await _renamed(source, key1, key2):
                pass
            elif await self._cp_one(path1, path2):
                await source.delete(key1)
            else:
                return False
        finally:
            self.invalidate_cache(path1)
            self.invalidate_cache(path2)
        return True


def _paths(path: Any) -> str | list[str]:
    """Return one path or several as strings, whatever kind of path or collection they come as."""
    one = stringify_path(path)
    return one if isinstance(one, str) else [stringify_path(each) for each in path]


async def _renamed(connection: Connection, key1: str, key2: str) -> bool:
    """Rename; False when the places are on two disks, so that what is to move must be copied."""
    try:
        await connection.rename(key1, key2)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        return False
    return True


async def _stream(source: Connection, key1: str, target: Connection, key2: str) -> None:
    """Copy by way of this process, a few parts at a time."""
    metadata = await source.stat(key1)
    if metadata.is_dir:
        raise IsADirectoryError(errno.EISDIR, "Is a directory", key1)
    version = Version.of(source, key1, metadata)
    options: dict[str, Any] = {}
    if metadata.content_type and target.can("write_with_content_type"):
        options["content_type"] = metadata.content_type
    size = version.size
    part = part_size(target, size)
    if source.service.scheme == "ftp" and size <= part:
        # A read of a range leaves the server's 226 unread, which the write may take for its own answer.
        await put_parts(target, key2, source.stream(key1), size, **options)
        return
    await put_parts(target, key2, _fetched(source, key1, part_ranges(size, part), version), size, **options)


async def _fetched(
    source: Connection, key: str, ranges: Iterator[Range], version: Version
) -> AsyncIterator[bytes]:
    while some := list(islice(ranges, _COPY_PARTS)):
        for data in await fetch(source, key, some, version):
            yield data


def _check_outside(source: str, target: str) -> None:
    if f"{target}/".startswith(f"{source}/"):
        raise OSError(
            errno.EINVAL, "A directory cannot be moved into itself", redact(source), None, redact(target)
        )


def _topmost(found: Iterable[str]) -> list[str]:
    """Leave out what lies below another of them."""
    kept: list[str] = []
    for path in sorted(found, key=lambda path: path.split("/")):
        if not kept or not path.startswith(f"{kept[-1]}/"):
            kept.append(path)
    return kept
