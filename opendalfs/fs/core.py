"""The filesystem: fsspec's hooks that move content, each a few lines over reader and writer.

`OpendalFileSystem` is one operator as a filesystem, its paths relative to the operator's options. The classes
that serve URLs, one per service, are in `filesystems`.
"""

from __future__ import annotations

import asyncio
import errno
import mimetypes
import os
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from fsspec.asyn import sync
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.utils import isfilelike

from opendalfs.errors import ChangedError, UnsupportedError, redact
from opendalfs.listing import info as listing
from opendalfs.listing.info import Info
from opendalfs.read import async_reader, reader
from opendalfs.read.plan import grouped, spread
from opendalfs.read.reader import Reader
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, detects_change
from opendalfs.write import async_writer, callers
from opendalfs.write.options import write_options
from opendalfs.write.parts import part_size
from opendalfs.write.writer import Writer, appending

from .async_file import AsyncReadFile, AsyncWriteFile
from .downloads import Downloads
from .file import ReadFile
from .sync import mirrored
from .write_file import CompressedWriteFile, TextWriteFile, WriteFile

__all__ = ["OpendalFileSystem"]

T = TypeVar("T")

_TEXT: Final = ("encoding", "errors", "newline")

_CHAINED_ARCHIVE: Final = """fsspec does not close an archive in a chained URL: open it yourself, as in
    with fsspec.open("opendal+s3://bucket/a.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("name.csv", data)"""


@mirrored
class OpendalFileSystem(Downloads):
    """An OpenDAL operator as a filesystem: rooted at its options, with paths relative to them.

    Parameters
    ----------
    scheme : str
        Name of a service, such as ``"s3"``.
    asynchronous, loop, batch_size :
        As fsspec's `AsyncFileSystem` takes them.
    use_listings_cache : bool
        Remember listings; by default those of remote services.
    listings_expiry_time : float
        Seconds that a listing is remembered, 30 by default. Own writes are seen at once. What a listing told
        pyarrow's `open_input_file` of a file is used for as long.
    max_paths : int, optional
        Listings remembered at most. In any case the oldest are evicted when all together have more than
        100,000 entries.
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
        """Give the version that a remembered listing tells of, where a read would tell that it is gone."""
        info = self._listed(self._strip_protocol(path))
        known = info is not None and info["type"] == "file" and not self.unsure(path)
        return Version.from_info(info) if info is not None and known else None

    def unsure(self, path: str) -> bool:
        """Tell whether a listing is remembered that a read could not be held to.

        Its size would cut a newer, longer file short, and nobody would notice.
        """
        info = self._listed(self._strip_protocol(path))
        if info is None or info["type"] != "file":
            return False
        connection, version = self.locate(path)[0], Version.from_info(info)
        return not detects_change(connection, version)

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
        return Reader(*self.locate(path), self._known(path), partial(self.invalidate_cache, path))

    async def _fresh(
        self,
        path: str,
        read: Callable[[Version | None], Awaitable[T]],
        may_repeat: Callable[[], bool] = lambda: True,
    ) -> T:
        """Read the version that a listing tells of, and what is there now when that one is gone."""
        version = self._known(path)
        if version is not None:
            try:
                return await read(version)
            except (ChangedError, FileNotFoundError):
                self.invalidate_cache(path)
                if not may_repeat():
                    raise
        return await read(None)

    async def _cat(
        self,
        path: Any,
        recursive: bool = False,
        on_error: str = "raise",
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        paths = await self._expand_path(path, recursive=recursive)
        many = len(paths) >= async_reader.IN_FLIGHT

        async def one(path: str) -> Any:
            try:
                return await self._cat_file(path, many=many, **kwargs)
            except Exception as exc:
                if on_error == "raise":
                    raise
                return exc

        found = await async_reader.gather(one, paths, batch_size or self.batch_size)
        if paths == [self._strip_protocol(path)] and not isinstance(path, list):
            return found[0]
        kept = zip(paths, found, strict=True)
        return {p: data for p, data in kept if on_error != "omit" or not isinstance(data, Exception)}

    async def _cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        version_id: str | None = None,
        many: bool = False,
        **kwargs: Any,
    ) -> bytes:
        connection, key = self.locate(path)

        async def read(version: Version | None) -> bytes:
            if start is None and end is None:
                return await async_reader.read_all(connection, key, version, many)
            return (await async_reader.read_some(connection, key, [(start, end)], version))[0]

        try:
            if version_id is not None:
                return await read(Version.from_info(await self._info(path, version_id=version_id)))
            data = await self._fresh(path, read)
        except TimeoutError:
            raise
        except OSError:
            # Services refuse to read a directory each in its own way.
            if not key or (not await self._isfile(path) and await self._is_folder(connection, key)):
                text = "Is a directory" if key else connection.no_key
                raise IsADirectoryError(errno.EISDIR, text, redact(path)) from None
            raise
        # A WebDAV server may answer with a page of the directory's entries.
        if listing.may_be_index(connection, data) and not await self._isfile(path):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(path))
        return data

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        batch_size: int | None = None,
        on_error: str = "return",
        version_id: str | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        groups = grouped(paths, starts, ends)

        async def one(path: str) -> list[Any]:
            ranges = [(a, b) for _, a, b in groups[path]]

            async def read(version: Version | None) -> list[bytes]:
                return await async_reader.read_some(*self.locate(path), ranges, version, max_gap)

            try:
                if version_id is not None:
                    return await read(Version.from_info(await self._info(path, version_id=version_id)))
                return await self._fresh(path, read)
            except Exception as exc:
                return [exc] * len(ranges)

        found = await async_reader.gather(one, groups, batch_size or self.batch_size)
        return spread(groups, found, len(paths), on_error)

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        version_id: str | None = None,
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
        version_id : str, optional
            Which version of the files to read; the newest one by default.

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
        if version_id is not None:
            pinned = {"max_gap": max_gap, "on_error": on_error, "version_id": version_id}
            return list(sync(self.loop, self._cat_ranges, paths, starts, ends, **pinned))
        groups = grouped(paths, starts, ends)

        def one(path: str) -> list[Any]:
            ranges = [(a, b) for _, a, b in groups[path]]
            known = self._known(path) is not None
            try:
                return self.reader(path).read_some(ranges, max_gap)
            except Exception as exc:
                if not known or not isinstance(exc, (ChangedError, FileNotFoundError)):
                    return [exc] * len(ranges)
            # The listing told of a version that is gone.
            self.invalidate_cache(path)
            return one(path)

        found = [one(p) for p in groups] if len(groups) == 1 else reader.each(one, list(groups))
        return spread(groups, found, len(paths), on_error)

    async def _get_file(
        self,
        rpath: str,
        lpath: Any,
        callback: Any = DEFAULT_CALLBACK,
        version_id: str | None = None,
        info: Info | None = None,
        **kwargs: Any,
    ) -> None:
        if info is None:
            info = await self._info(rpath, refresh=self.unsure(rpath), version_id=version_id)
        if info["type"] == "directory":
            os.makedirs(lpath, exist_ok=True)
            return
        connection, key = self.locate(rpath)
        poured = 0

        def progress(size: int) -> None:
            nonlocal poured
            poured += size
            callback.relative_update(size)

        async def read(version: Version | None) -> None:
            if version is None:
                version = Version.from_info(await self._info(rpath, refresh=True))
            callback.set_size(version.size)
            if isfilelike(lpath):
                await async_reader.pour(connection, key, version, lpath, progress)
            else:
                await async_reader.download(
                    connection, key, version, os.fspath(lpath), callback.relative_update
                )

        if version_id is not None or self._known(rpath) is None:
            await read(Version.from_info(info))
        else:
            # What a file-like object took it keeps: the whole would follow upon half of what was.
            await self._fresh(rpath, read, lambda: not poured)

    # Writing

    async def _pipe(self, path: Any, value: Any = None, batch_size: int | None = None, **kwargs: Any) -> None:
        async def one(item: tuple[str, Any]) -> None:
            await self._pipe_file(*item, **kwargs)

        content = path if isinstance(path, dict) else {path: value}
        # fsspec's own way looks at all that are under way each time one ends.
        await async_reader.gather(one, content.items(), batch_size or self.batch_size)

    async def _pipe_file(self, path: str, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        connection, key = self._writable(path)
        # A number is none, of which bytes() would make so many zeros.
        data = value if isinstance(value, bytes) else bytes(memoryview(value))
        options = await self._write_options(connection, key, path, mode, kwargs)
        try:
            await async_writer.put_bytes(connection, key, data, **options)
        finally:
            # A write that failed may have changed the object all the same.
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
        try:
            with open(lpath, "rb") as source:
                part = part_size(connection, size, chunk=options.get("chunk"))
                parts = async_writer.file_parts(source, part, callback.relative_update)
                await async_writer.put_parts(connection, key, parts, size, **options)
        finally:
            self.invalidate_cache(rpath)

    async def _write_options(
        self, connection: Connection, key: str, path: str, mode: str, given: dict[str, Any]
    ) -> dict[str, Any]:
        if mode not in ("overwrite", "create"):
            raise ValueError(f"mode is 'overwrite' or 'create', not {mode!r}")
        options = write_options(connection, given)
        if mode == "create":
            if connection.can("write_with_if_not_exists"):
                options["if_not_exists"] = True
            elif await self._exists(path, refresh=True):
                raise FileExistsError(errno.EEXIST, "File exists", redact(path))
        return options

    async def _touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        if not truncate and await self._exists(path):
            raise UnsupportedError(
                "touch(truncate=False) of a file that exists: storage sets times by writing only"
            )
        await self._pipe_file(path, b"", **kwargs)

    async def _sign(self, path: str, expiration: int = 100, **kwargs: Any) -> str:
        connection, key = self.locate(path)
        if not key:
            # The URL would list the whole container.
            raise IsADirectoryError(errno.EISDIR, connection.no_key, redact(path))
        return (await connection.presign_read(key, expiration)).url

    async def _url(
        self, path: str, expires: int = 3600, client_method: str = "get_object", **kwargs: Any
    ) -> str:
        """Return a signed URL to download a file by, as in s3fs.

        Parameters
        ----------
        path : str
            Of the file; whether it exists is not looked up.
        expires : int
            Seconds that the URL is good for.
        client_method : str
            ``"get_object"``: no other request is signed.

        Returns
        -------
        str

        Raises
        ------
        UnsupportedError
            For another request, further parameters, or a service that signs no URLs.
        """
        if client_method != "get_object" or kwargs:
            asked = ", ".join([repr(client_method), *kwargs])
            raise UnsupportedError(f"url() signs 'get_object' without parameters, not {asked}")
        return await self._sign(path, expires)

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
        if callers.in_chained_open():
            raise UnsupportedError(_CHAINED_ARCHIVE)
        connection, key = self._writable(path)
        if mode == "ab":
            target = appending(connection, key, block_size=block_size, **kwargs)
        else:
            target = Writer(connection, key, exclusive=mode == "xb", block_size=block_size, **kwargs)
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
            Bytes to read ahead; for writing, of a part of a multipart upload.
        cache_options : dict, optional
            For fsspec's cache.
        compression : str, optional
            Such as ``"gzip"``; ``"infer"`` goes by the name.
        **kwargs
            ``cache_type``, ``version_id``, ``size`` (bytes; saves a request where the caller knows it) for
            reading; for writing ``content_type`` and the like, ``chunksize`` (bytes of a part),
            ``max_concurrency`` (parts in flight);
            ``encoding``, ``errors``, ``newline`` for text.

        Returns
        -------
        file-like
            For writing, also in text mode and with compression, it has ``commit()``, which publishes at
            once, and ``discard()``, which publishes nothing.

        Raises
        ------
        FileNotFoundError
            For reading, when there is none.
        FileExistsError
            For ``x``, when there is one.
        UnsupportedError
            For modes that change a file in place, and within a chained URL such as
            ``zip://a::opendal+s3://b/c.zip``, whose archive only a finalizer would close.
        OptionError
            For an unknown option of a write.
        """
        if mode[:1] not in ("w", "x", "a"):
            return super().open(
                path,
                mode,
                block_size=block_size,
                cache_options=cache_options,
                compression=compression,
                **kwargs,
            )
        text = {name: kwargs.pop(name) for name in _TEXT if "b" not in mode and name in kwargs}
        raw: WriteFile = super().open(path, f"{mode.strip('bt')}b", block_size=block_size, **kwargs)
        name = get_compression(path, compression)
        file = raw if name is None else CompressedWriteFile(compr[name](raw, mode="w"), raw)
        return file if "b" in mode else TextWriteFile(file, **text)

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
            if "size" in kwargs:
                raise ValueError("open_async takes no size=: it asks the service, or a remembered listing")
            info = await self._info(
                path, refresh=self.unsure(path), version_id=kwargs.pop("version_id", None)
            )
            if info["type"] != "file":
                raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(path))
            return AsyncReadFile(*self.locate(path), Version.from_info(info))
        if mode not in ("wb", "xb"):
            raise UnsupportedError(f"open_async takes the modes 'rb', 'wb' and 'xb', not {mode!r}")
        connection, key = self._writable(path)
        target = await asyncio.to_thread(Writer, connection, key, exclusive=mode == "xb", **kwargs)
        return AsyncWriteFile(target, lambda: self.invalidate_cache(path))


OpendalFileSystem._cache = weakref.WeakValueDictionary()
