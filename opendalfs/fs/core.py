"""The filesystem class: one OpenDAL operator, with paths relative to its options.

It adds file objects and URLs to what its base classes do: paths and caches (`base`), lookups and listings
(`lookup`), removals, copies and moves (`changes`), reads and writes of content (`content`). The classes that
serve URLs, one per service, are in `services`.
"""

from __future__ import annotations

import asyncio
import errno
import weakref
from typing import Any, Final

from fsspec.compression import compr
from fsspec.core import get_compression

from opendalfs.errors import UnsupportedError, redact
from opendalfs.read.reader import Reader
from opendalfs.storage.version import Version
from opendalfs.write import call_stack
from opendalfs.write.writer import Writer, appending

from .async_file import AsyncReadFile, AsyncWriteFile
from .base import must_refresh
from .cat import open_reader
from .content import ContentFileSystem
from .file import ReadFile
from .notebook import filesystem_html
from .read_options import check_read_options
from .signed_urls import CLIENT_METHODS, SignedURL, sign
from .sync import add_blocking_methods
from .write_file import CompressedWriteFile, TextWriteFile, WriteFile

__all__ = ["OpendalFileSystem"]

_TEXT_OPTIONS: Final = ("encoding", "errors", "newline")

_CHAINED_ARCHIVE: Final = """\
cannot write an archive in a chained URL: fsspec does not close it. Open it yourself, as in
    with fsspec.open("opendal+s3://bucket/a.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("name.csv", data)"""


@add_blocking_methods
class OpendalFileSystem(ContentFileSystem):
    """An OpenDAL operator as a filesystem, with paths relative to its options.

    Parameters
    ----------
    scheme : str
        Name of a service, such as ``"s3"``.
    asynchronous, loop, batch_size :
        As fsspec's `AsyncFileSystem` takes them.
    use_listings_cache : bool, optional
        Whether to cache listings; by default those of remote services.
    listings_expiry_time : float, optional
        Seconds that a listing is cached; None for no limit. Writes through this filesystem show at once.
        ``opendalfs.arrow`` uses the version of a file from a listing for as long.
    max_paths : int, optional
        Largest number of cached listings; by default no limit. In any case the oldest are evicted when all
        together have more than 100,000 entries.
    **options
        Options of the service, in the names of OpenDAL or of s3fs, gcsfs, adlfs, ossfs; and those of
        `opendalfs.options.Tuning`: ``retries``, ``timeout`` (seconds), ``concurrency``,
        ``block_size`` (bytes), ...

    Raises
    ------
    OptionError
        For an unknown option; the message names the nearest known one. For a missing container, such as
        ``bucket``.
    ValueError
        For an unknown service.

    Examples
    --------
    >>> fs = OpendalFileSystem("memory")
    >>> fs.pipe_file("greetings/a.txt", b"hello")
    >>> fs.cat_file("greetings/a.txt", start=-3)
    b'llo'
    """

    def _repr_html_(self) -> str:
        """Return service, endpoint, options without secrets, and capabilities for a notebook."""
        return filesystem_html(self)

    # URLs and metadata

    async def _sign(self, path: str, expiration: int = 100, method: str = "GET", **kwargs: Any) -> SignedURL:
        """Return a signed URL, with which anybody can read, write or delete a file without credentials.

        Parameters
        ----------
        path : str
            A path or URL. Whether the file exists is not looked up.
        expiration : int
            Seconds until the URL expires; at most 7 days for S3, GCS and TOS.
        method : {"GET", "HEAD", "PUT", "DELETE"}
            What the URL allows.
        **kwargs
            For PUT, the options of `pipe_file`, such as ``content_type``.

        Returns
        -------
        SignedURL
            A str. A client must send its ``headers`` too, which are empty for a GET without requester pays
            and without a customer's key for the encryption (SSE-C), which they contain. The URL of a
            filesystem without credentials (``anon=True``) has no signature.

        Raises
        ------
        IsADirectoryError
            For a container.
        OptionError
            For an option that the service or the method lacks, or that OpenDAL cannot sign.
        UnsupportedError
            If the service signs no URLs for the method, or only URLs that allow more.
        ValueError
            For another method, and for an expiration out of range.

        Examples
        --------
        >>> import opendalfs
        >>> fs = opendalfs.filesystem("s3", key="...", secret="...", region="eu-central-1")
        >>> url = fs.sign("lake/new.csv", expiration=600, method="PUT", content_type="text/csv")
        >>> url.partition("?")[0], url.headers
        ('https://s3.eu-central-1.amazonaws.com/lake/new.csv', {'content-type': 'text/csv'})
        """
        return await sign(self, path, expiration, method, kwargs)

    async def _url(
        self, path: str, expires: int = 3600, client_method: str = "get_object", **kwargs: Any
    ) -> SignedURL:
        """Return a signed URL, as in s3fs; one without a signature if the filesystem has no credentials.

        Parameters
        ----------
        path : str
            A path or URL. Whether the file exists is not looked up.
        expires : int
            Seconds until the URL expires.
        client_method : {"get_object", "head_object", "put_object", "delete_object"}
            What the URL allows.
        **kwargs
            As `sign` takes them.

        Returns
        -------
        SignedURL
            As `sign` returns it.

        Raises
        ------
        IsADirectoryError
            For a container.
        OptionError
            For an option that the service or the method lacks.
        UnsupportedError
            For another request, and for a service that signs no URLs for it.
        ValueError
            For an expiration out of range.
        """
        method = CLIENT_METHODS.get(client_method)
        if method is None:
            raise UnsupportedError(
                f"url() cannot sign {client_method!r}: it signs {', '.join(CLIENT_METHODS)}"
            )
        return await sign(self, path, expires, method, kwargs)

    def getxattr(self, path: str, name: str, **kwargs: Any) -> str | None:
        """Return one entry of a file's user metadata, as in s3fs; None if it has no such entry.

        The options are those of `metadata`.

        Raises
        ------
        FileNotFoundError
            If nothing exists at the path.
        """
        return self.metadata(path, **kwargs).get(name)

    def metadata(self, path: str, refresh: bool = True, version_id: str | None = None) -> dict[str, str]:
        """Return the user metadata that the service stores with a file, as in s3fs.

        Parameters
        ----------
        path : str
            A path or URL.
        refresh : bool
            Whether to ask the service even when a cached listing shows the path.
        version_id : str, optional
            Which version of the file; by default the newest.

        Returns
        -------
        dict
            Empty when the file has none.

        Raises
        ------
        FileNotFoundError
            If nothing exists at the path.
        """
        return dict(self.info(path, refresh=refresh, version_id=version_id).get("metadata", {}))

    # File objects

    def reader(self, path: str) -> Reader:
        """Return positioned reads of a file, for threads and without an event loop.

        Parameters
        ----------
        path : str
            A path or URL. No request is made before the first read.

        Returns
        -------
        Reader
            Reads raise FileNotFoundError if there is no file.

        Raises
        ------
        ValueError
            For a path that OpenDAL would change; for a URL of another server.

        Examples
        --------
        >>> fs = OpendalFileSystem("memory")
        >>> fs.pipe_file("doc/reader", b"0123456789")
        >>> fs.reader("doc/reader").read(2, 3)
        b'234'
        """
        return open_reader(self, path)

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
            check_read_options(kwargs, "version_id", "size", "details")
            return ReadFile(
                self,
                path,
                block_size=block_size or self.tuning.block_size,
                cache_options=cache_options,
                **kwargs,
            )
        if mode not in ("wb", "xb", "ab"):
            raise UnsupportedError(
                f"cannot open with mode {mode!r}: use 'rb', 'wb', 'xb' or 'ab'\n"
                "Files are read, replaced, created or appended to, not changed in place."
            )
        if call_stack.in_chained_open():
            raise UnsupportedError(_CHAINED_ARCHIVE)
        connection, key = self.locate_for_writing(path)
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
            A path or URL.
        mode : str
            ``r`` (read), ``w`` (replace), ``x`` (create) or ``a`` (append), with ``b`` for bytes.
        block_size : int, optional
            For reading, bytes to read ahead; for writing, bytes of a part of a multipart upload.
        cache_options : dict, optional
            Options of fsspec's cache.
        compression : str, optional
            Such as ``"gzip"``; ``"infer"`` chooses it by the suffix of the path.
        **kwargs
            For reading ``cache_type``, ``version_id`` and ``size`` (bytes of the file, which saves a request
            if the caller knows it). For writing ``content_type`` and the other options of `pipe_file`. For
            text ``encoding``, ``errors`` and ``newline``.

        Returns
        -------
        file-like
            For writing it has ``commit()``, which publishes the file at once, and ``discard()``, which
            publishes nothing; also in text mode and with compression.

        Raises
        ------
        FileNotFoundError
            If there is no file to read.
        FileExistsError
            If the file exists, for ``x``.
        IsADirectoryError
            For a directory to read, and for a container.
        OptionError
            For an unknown option.
        UnsupportedError
            For modes that change a file in place; for writing within a chained URL such as
            ``zip://a::opendal+s3://b/c.zip``, which fsspec would never close.

        Examples
        --------
        >>> fs = OpendalFileSystem("memory")
        >>> with fs.open("greetings/b.txt", "w") as file:
        ...     _ = file.write("hello")
        >>> with fs.open("greetings/b.txt", "rb") as file:
        ...     file.read(2)
        b'he'
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
        text = {name: kwargs.pop(name) for name in _TEXT_OPTIONS if "b" not in mode and name in kwargs}
        raw: WriteFile = super().open(path, f"{mode.strip('bt')}b", block_size=block_size, **kwargs)
        name = get_compression(path, compression)
        file = raw if name is None else CompressedWriteFile(compr[name](raw, mode="w"), raw)
        return file if "b" in mode else TextWriteFile(file, **text)

    async def open_async(self, path: str, mode: str = "rb", **kwargs: Any) -> AsyncReadFile | AsyncWriteFile:
        """Open a file for use in coroutines.

        Parameters
        ----------
        path : str
            A path or URL.
        mode : {"rb", "wb", "xb"}
            Read, replace or create.
        **kwargs
            For reading ``version_id``; for writing the options of `pipe_file`.

        Returns
        -------
        AsyncReadFile or AsyncWriteFile

        Raises
        ------
        FileNotFoundError
            If there is no file to read.
        IsADirectoryError
            For a directory to read, and for a container.
        OptionError
            For an unknown option.
        UnsupportedError
            For other modes.
        ValueError
            For ``compression`` and ``size``, which only `open` takes.
        """
        if kwargs.pop("compression", None):
            raise ValueError("open_async() does not support compression=: use open()")
        if mode == "rb":
            if "size" in kwargs:
                raise ValueError("open_async() does not support size=: leave it out")
            version_id = kwargs.pop("version_id", None)
            check_read_options(kwargs, "version_id")
            info = await self._info(path, refresh=must_refresh(self, path), version_id=version_id)
            if info["type"] != "file":
                raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(path))
            return AsyncReadFile(*self.locate(path), Version.from_info(info))
        if mode not in ("wb", "xb"):
            raise UnsupportedError(f"open_async() supports the modes 'rb', 'wb' and 'xb', not {mode!r}")
        connection, key = self.locate_for_writing(path)
        target = await asyncio.to_thread(Writer, connection, key, exclusive=mode == "xb", **kwargs)
        return AsyncWriteFile(target, lambda: self.invalidate_cache(path))


OpendalFileSystem._cache = weakref.WeakValueDictionary()
