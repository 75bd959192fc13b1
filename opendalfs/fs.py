"""The filesystem: fsspec's hooks that move content, each a few lines over reader and writer.

`OpendalFileSystem` is one operator as a filesystem, its paths relative to the operator's options. The classes
that serve URLs, one per service, are in `filesystems`.
"""

from __future__ import annotations

import asyncio
import errno
import mimetypes
import os
import uuid
import weakref
from collections.abc import Sequence
from typing import Any

from fsspec.asyn import sync_wrapper
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.utils import isfilelike

from . import listing, reader, writer
from .async_file import AsyncReadFile, AsyncWriteFile
from .errors import UnsupportedError
from .file import CompressedWriteFile, ReadFile, WriteFile
from .namespace import Namespace
from .operators import Connection
from .ranges import Range, split
from .reader import Reader, Version
from .services import Home

__all__ = ["OpendalFileSystem"]

_COPY_PARTS = 8


class OpendalFileSystem(Namespace):
    """An OpenDAL operator as a filesystem: rooted at its options, with paths relative to them.

    Parameters
    ----------
    scheme : str
        Name of a service, such as ``"s3"``.
    asynchronous, loop, batch_size :
        As fsspec's `AsyncFileSystem` takes them.
    use_listings_cache : bool
        Remember listings; on by default.
    listings_expiry_time : float
        Seconds that a listing is remembered, 30 by default. Own writes are seen at once.
    max_paths : int, optional
        Listings remembered at most.
    **options
        Of the service, in the names of OpenDAL or of s3fs, gcsfs, adlfs, ossfs; and of
        `opendalfs.options.Tuning`: ``retries``, ``timeout`` (seconds), ``concurrency``,
        ``block_size`` (bytes), ...

    Raises
    ------
    OptionError
        For an unknown option, naming the nearest known one.

    Examples
    --------
    >>> fs = OpendalFileSystem("memory")
    >>> fs.pipe_file("greetings/a.txt", b"hello")
    >>> fs.cat_file("greetings/a.txt", start=-3)
    b'llo'
    """

    # Reading

    def _known(self, path: str) -> Version | None:
        """Give the version that a remembered listing tells of."""
        info = self._listed(self._strip_protocol(path))
        return None if info is None or info["type"] != "file" else Version.from_info(info)

    def reader(self, path: str) -> Reader:
        """Give positioned reads of a file, for threads and without an event loop.

        Parameters
        ----------
        path : str
            Of a file; nothing is asked before the first read.

        Returns
        -------
        Reader
        """
        return Reader(*self.locate(path), self._known(path))

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        connection, key = self.locate(path)
        version = self._known(path)
        try:
            if start is None and end is None:
                return await reader.read_all(connection, key, version)
            return (await reader.read_some(connection, key, [(start, end)], version))[0]
        except FileNotFoundError:
            if not key or await self._is_folder(connection, key):
                raise IsADirectoryError(errno.EISDIR, "Is a directory", path) from None
            raise

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        groups = _grouped(paths, starts, ends)

        async def one(path: str) -> list[Any]:
            ranges = [(a, b) for _, a, b in groups[path]]
            try:
                connection, key = self.locate(path)
                return list(await reader.read_some(connection, key, ranges, self._known(path), max_gap))
            except Exception as exc:
                return [exc] * len(ranges)

        limit = batch_size or self.batch_size
        found = await reader.gather(one, groups, limit)
        return _spread(groups, found, len(paths), on_error)

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Read many ranges of many files: near ones with one request, all at the same time.

        Works in threads, without a hop to the event loop.

        Parameters
        ----------
        paths : list of str
            A file for each range; may repeat.
        starts, ends : int, None, or list of these
            Start (inclusive) and end (exclusive) of each range in bytes; negative ones count from the end,
            what lies past the end is left out.
        max_gap : int, optional
            Hole in bytes up to which two ranges are fetched as one; 256 KiB by default.
        on_error : {"return", "raise"}
            Whether an error takes the place of its ranges' bytes, or is raised.

        Returns
        -------
        list of bytes

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("memory")
        >>> fs.pipe_file("doc/ranges", b"0123456789")
        >>> fs.cat_ranges(["doc/ranges"] * 2, [0, -2], [3, None])
        [b'012', b'89']
        """
        groups = _grouped(paths, starts, ends)

        def one(path: str) -> list[Any]:
            ranges = [(a, b) for _, a, b in groups[path]]
            try:
                return list(self.reader(path).read_some(ranges, max_gap))
            except Exception as exc:
                return [exc] * len(ranges)

        found = [one(p) for p in groups] if len(groups) == 1 else reader.each(one, list(groups))
        return _spread(groups, found, len(paths), on_error)

    async def _get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **kwargs: Any
    ) -> None:
        info = await self._info(rpath)
        if info["type"] == "directory":
            os.makedirs(lpath, exist_ok=True)
            return
        connection, key = self.locate(rpath)
        version = Version.from_info(info)
        callback.set_size(version.size)
        if isfilelike(lpath):
            lpath.write(await reader.read_all(connection, key, version))
            callback.relative_update(version.size)
            return
        target = os.fspath(lpath)
        if os.path.isdir(target):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", target)
        # Beside its place and renamed, so that a failure leaves what was there.
        folder, name = os.path.split(target)
        partial = os.path.join(folder, f".{name}.{uuid.uuid4().hex[:12]}.part")
        try:
            with open(partial, "wb") as file:
                await reader.download(connection, key, version, file.fileno(), callback.relative_update)
            os.replace(partial, target)
        except BaseException:
            if os.path.exists(partial):
                os.remove(partial)
            raise

    # Writing

    async def _pipe_file(self, path: str, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        connection, key = self._writable(path)
        data = value if isinstance(value, bytes) else bytes(value)
        options = await self._write_options(connection, key, path, mode, kwargs)
        await writer.put_bytes(connection, key, data, **options)
        self.invalidate_cache(path)

    async def _put_file(
        self,
        lpath: Any,
        rpath: str,
        mode: str = "overwrite",
        callback: Any = DEFAULT_CALLBACK,
        **kwargs: Any,
    ) -> None:
        if os.path.isdir(lpath):
            await self._makedirs(rpath, exist_ok=True)
            return
        connection, key = self._writable(rpath)
        guessed = mimetypes.guess_type(os.fspath(lpath))[0]
        if guessed and connection.can("write_with_content_type"):
            kwargs.setdefault("content_type", kwargs.pop("ContentType", guessed))
        options = await self._write_options(connection, key, rpath, mode, kwargs)
        size = os.path.getsize(lpath)
        callback.set_size(size)
        with open(lpath, "rb") as source:
            await writer.put_stream(connection, key, source, size, callback.relative_update, **options)
        self.invalidate_cache(rpath)

    def _writable(self, path: str) -> tuple[Connection, str]:
        connection, key = self.locate(path)
        connection.require("write", "write")
        if not key:
            raise IsADirectoryError(errno.EISDIR, "Is a directory: a file needs a name", path)
        return connection, key

    async def _write_options(
        self, connection: Connection, key: str, path: str, mode: str, given: dict[str, Any]
    ) -> dict[str, Any]:
        if mode not in ("overwrite", "create"):
            raise ValueError(f"mode is 'overwrite' or 'create', not {mode!r}")
        options = writer.write_options(connection, given)
        if mode == "create":
            if connection.can("write_with_if_not_exists"):
                options["if_not_exists"] = True
            elif await self._exists(path, refresh=True):
                raise FileExistsError(errno.EEXIST, "File exists", path)
        return options

    async def _touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        if not truncate and await self._exists(path):
            raise UnsupportedError(
                "touch(truncate=False) of a file that exists: storage sets times by writing only"
            )
        await self._pipe_file(path, b"", **kwargs)

    async def _mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        path = self._strip_protocol(path)
        if await self._exists(path, refresh=True):
            raise FileExistsError(errno.EEXIST, "File exists", path)
        if not create_parents and not await self._isdir(self._parent(path)):
            raise FileNotFoundError(errno.ENOENT, "The directory above does not exist", path)
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
            raise UnsupportedError(f"OpenDAL cannot create {path!r}: create it with the service's own tools")
        # Stores that keep no directories need none: a name with slashes is enough.
        if connection.can("create_dir"):
            await connection.create_dir(f"{key}/")
            self.invalidate_cache(path)

    # Removing and moving

    async def _rmdir(self, path: str) -> None:
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        if not key:
            raise UnsupportedError(f"OpenDAL cannot remove {path!r}: remove it with the service's own tools")
        connection.require("list", "tell whether a directory is empty")
        found = await listing.children(connection, key)
        if found is None:
            info = await self._info(path, refresh=True)
            if info["type"] == "file":
                raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        if found:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", path)
        await connection.delete(f"{key}/")
        self.invalidate_cache(path)

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        info = await self._info(path)
        if info["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "Is a directory: pass recursive=True to rm()", path)
        connection, key = self.locate(path)
        await connection.delete(key)
        self.invalidate_cache(path)

    async def _rm(
        self,
        path: Any,
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        limit = batch_size or self.batch_size
        if maxdepth is not None:
            found = await self._expand_path(path, recursive=recursive, maxdepth=maxdepth)
            await self._rm_listed(found, limit)
            return
        # Globs are resolved; a directory is removed by its prefix, not by its files.
        found = await self._expand_path(path, recursive=False)
        one = self._rm_tree if recursive else self._rm_file
        await reader.gather(one, found, limit)

    async def _rm_listed(self, found: Sequence[str], limit: int) -> None:
        infos = await reader.gather(self._info, found, limit)
        files = [i["name"] for i in infos if i["type"] == "file"]
        await reader.gather(self._rm_file, files, limit)
        for info in sorted(infos, key=lambda i: -len(i["name"])):
            # What maxdepth has left standing keeps its directory.
            if info["type"] == "directory" and not await self._ls(info["name"], refresh=True):
                await self._rmdir(info["name"])

    async def _rm_tree(self, path: str) -> None:
        path = self._strip_protocol(path)
        connection, key = self.locate(path)
        if not key:
            await self._rm_children(connection, path)
            return
        is_file = await self._isfile(path)
        is_folder = await self._is_folder(connection, key)
        if not is_file and not is_folder:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if is_folder:
            await connection.remove_all(f"{key}/")
        if is_file:
            await connection.delete(key)
        self.invalidate_cache(path)

    async def _rm_children(self, connection: Connection, path: str) -> None:
        """Empty a container; itself stays, as OpenDAL cannot remove it."""
        if connection.service.home is Home.DISK:
            raise PermissionError(errno.EPERM, "Refused: this would remove the whole disk", path)
        await connection.remove_all("")
        self.invalidate_cache()

    async def _cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        source, key1 = self.locate(path1)
        target, key2 = self._writable(path2)
        known = self._listed(self._strip_protocol(path1))
        if not key1 or (known is not None and known["type"] == "directory"):
            await self._cp_folder(path1, path2)
            return
        try:
            if source is target and source.can("copy"):
                await source.copy(key1, key2)
            else:
                await self._stream(source, key1, target, key2)
        except (FileNotFoundError, IsADirectoryError):
            if not await self._is_folder(source, key1):
                raise
            await self._cp_folder(path1, path2)
        self.invalidate_cache(path2)

    async def _cp_folder(self, path1: str, path2: str) -> None:
        """Make a directory for a copied one, where copies of its files do not imply it."""
        if not self.dircache.get(self._strip_protocol(path1)):
            await self._makedirs(path2, exist_ok=True)

    async def _stream(self, source: Connection, key1: str, target: Connection, key2: str) -> None:
        metadata = await source.stat(key1)
        if metadata.is_dir:
            raise IsADirectoryError(errno.EISDIR, "Is a directory", key1)
        version = Version.of(source, key1, metadata)
        options: dict[str, Any] = {}
        if metadata.content_type and target.can("write_with_content_type"):
            options["content_type"] = metadata.content_type
        part = writer.part_size(target, version.size)
        if version.size <= part or not target.can("write_can_multi") or writer.staged(target):
            data = await reader.read_all(source, key1, version)
            await writer.put_bytes(target, key2, data, **options)
            return
        upload = await target.upload_async(key2, concurrent=_COPY_PARTS, **options)
        for window in split(Range(0, version.size), part):
            for data in await reader.fetch(source, key1, [window], version):
                await upload.write(data)
        await upload.complete()

    async def _mv(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        if path1 == path2:
            return
        single = isinstance(path1, str) and isinstance(path2, str) and maxdepth is None
        if single and await self._isfile(path1):
            await self._mv_file(path1, path2)
            return
        await self._copy(path1, path2, recursive=recursive, maxdepth=maxdepth, on_error="raise")
        await self._rm(path1, recursive=recursive)

    async def _mv_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        name = self._strip_protocol(path1).rpartition("/")[2]
        if path2.endswith("/") or await self._isdir(path2):
            path2 = f"{path2.rstrip('/')}/{name}"
        source, key1 = self.locate(path1)
        target, key2 = self._writable(path2)
        if source is target and key1 == key2:
            return
        if source is target and source.can("rename"):
            await source.rename(key1, key2)
        else:
            await self._cp_file(path1, path2)
            await source.delete(key1)
        self.invalidate_cache(path1)
        self.invalidate_cache(path2)

    async def _sign(self, path: str, expiration: int = 100, **kwargs: Any) -> str:
        connection, key = self.locate(path)
        return (await connection.presign_read(key, expiration)).url

    mv = sync_wrapper(_mv)
    mv_file = sync_wrapper(_mv_file)
    rmdir = sync_wrapper(_rmdir)
    sign = sync_wrapper(_sign)
    touch = sync_wrapper(_touch)

    def getxattr(self, path: str, name: str, **kwargs: Any) -> str | None:
        """Give one entry of a file's own metadata; None when it has none of that name."""
        found: dict[str, str] = self.metadata(path)
        return found.get(name)

    def metadata(self, path: str, **kwargs: Any) -> dict[str, str]:
        """Give a file's own metadata, as the service keeps it with the object."""
        return dict(self.info(path, refresh=True).get("metadata", {}))

    # File objects

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> ReadFile | WriteFile:
        if mode == "rb":
            return ReadFile(
                self,
                path,
                block_size=block_size or self.tuning.block_size,
                cache_options=cache_options,
                **kwargs,
            )
        if mode not in ("wb", "xb", "ab"):
            raise UnsupportedError(
                f"mode {mode!r}: objects are read ('rb'), replaced ('wb'), created ('xb') or appended "
                "to ('ab'), not changed in place"
            )
        connection, key = self._writable(path)
        if mode == "ab":
            target = writer.appending(connection, key, **kwargs)
        else:
            target = writer.Writer(connection, key, exclusive=mode == "xb", **kwargs)
        return WriteFile(self, path, mode, target, autocommit)

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Open a file.

        Parameters
        ----------
        path : str
            Its path.
        mode : str
            ``r``, ``w``, ``x`` (create, or fail) or ``a``, with ``b`` for bytes.
        block_size : int, optional
            Bytes to read ahead.
        cache_options : dict, optional
            For fsspec's cache.
        compression : str, optional
            Such as ``"gzip"``; ``"infer"`` goes by the name.
        **kwargs
            ``cache_type``, ``version_id`` for reading; ``content_type`` and the like for writing;
            ``encoding``, ``errors``, ``newline`` for text.

        Returns
        -------
        file-like
        """
        if "b" in mode and compression and mode[0] in "wxa":
            raw = super().open(path, mode, block_size=block_size, **kwargs)
            name = get_compression(path, compression)
            return raw if name is None else CompressedWriteFile(compr[name](raw, mode="w"), raw)
        return super().open(
            path,
            mode,
            block_size=block_size,
            cache_options=cache_options,
            compression=compression,
            **kwargs,
        )

    async def open_async(self, path: str, mode: str = "rb", **kwargs: Any) -> AsyncReadFile | AsyncWriteFile:
        """Open a file for use in coroutines.

        Parameters
        ----------
        path : str
            Its path.
        mode : {"rb", "wb", "xb"}
            How.
        **kwargs
            For writing, as `pipe_file` takes them.

        Returns
        -------
        AsyncReadFile or AsyncWriteFile
        """
        if kwargs.pop("compression", None):
            raise ValueError("open_async does not compress")
        if mode == "rb":
            info = await self._info(path, version_id=kwargs.pop("version_id", None))
            if info["type"] != "file":
                raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
            return AsyncReadFile(*self.locate(path), Version.from_info(info))
        if mode not in ("wb", "xb"):
            raise UnsupportedError(f"open_async takes the modes 'rb', 'wb' and 'xb', not {mode!r}")
        connection, key = self._writable(path)
        target = await asyncio.to_thread(writer.Writer, connection, key, exclusive=mode == "xb", **kwargs)
        return AsyncWriteFile(target, lambda: self.invalidate_cache(path))


OpendalFileSystem._cache = weakref.WeakValueDictionary()


_Groups = dict[str, list[tuple[int, int | None, int | None]]]


def _grouped(paths: list[str], starts: Any, ends: Any) -> _Groups:
    """Sort the ranges of a cat_ranges by file, each with its position in the answer."""
    if not isinstance(paths, list):
        raise TypeError("paths is a list, with a path for each range")
    first = starts if isinstance(starts, (list, tuple)) else [starts] * len(paths)
    last = ends if isinstance(ends, (list, tuple)) else [ends] * len(paths)
    if not len(first) == len(last) == len(paths):
        raise ValueError("paths, starts and ends are of different lengths")
    groups: _Groups = {}
    for i, path in enumerate(paths):
        groups.setdefault(path, []).append((i, first[i], last[i]))
    return groups


def _spread(groups: _Groups, found: list[list[Any]], count: int, on_error: str) -> list[Any]:
    out: list[Any] = [None] * count
    for members, results in zip(groups.values(), found, strict=True):
        for (i, _, _), data in zip(members, results, strict=True):
            out[i] = data
    if on_error != "return":
        for data in out:
            if isinstance(data, BaseException):
                raise data
    return out
