"""The file object that ``open()`` returns for reading; those for writing are in `opendalfs.fs.write_file`.

It is fsspec's buffered file over a `Reader`, so every cache type of fsspec works. Several threads may read
from one file: each read returns consecutive bytes.
"""

from __future__ import annotations

import errno
import operator
import threading
from typing import Any

from fsspec.spec import AbstractBufferedFile

from opendalfs.errors import ChangedError, redact
from opendalfs.read.reader import Reader
from opendalfs.runtime.futures import weak_callback
from opendalfs.services import Locality
from opendalfs.storage.version import Version

from . import file_readers
from .base import BaseFileSystem, must_refresh

__all__ = ["ReadFile"]


class ReadFile(AbstractBufferedFile):
    """A file open for reading, pinned to the version that it had when it was opened.

    Parameters
    ----------
    fs : OpendalFileSystem
        Its filesystem.
    path : str
        Its stripped path.
    details : dict, optional
        What ``fs.info`` returns for it; by default requested, unless a cached listing shows it.
    version_id : str, optional
        Which version of the file; by default the newest.
    size : int, optional
        Size of the file in bytes, if the caller knows it: then a remote service gets no request for it, and
        what is past this size is not read. Reads are pinned to the version that a cached listing shows, if
        any.
    **kwargs
        As fsspec's `AbstractBufferedFile` takes them: ``block_size`` (bytes), ``cache_type``,
        ``cache_options``.

    Raises
    ------
    ChangedError
        If the file is shorter than `size`. With `size` on a remote service a read may raise it instead.
    FileNotFoundError
        If there is no file. With `size` on a remote service the first read raises it instead.
    IsADirectoryError
        For a directory.
    ValueError
        For a negative `size`.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> fs.pipe_file("doc/file", b"0123456789")
    >>> with fs.open("doc/file") as file:
    ...     file.read(2), file.read_at(8, 100)
    (b'01', b'89')
    """

    def __init__(
        self,
        fs: BaseFileSystem,
        path: str,
        *,
        details: dict[str, Any] | None = None,
        version_id: str | None = None,
        size: int | None = None,
        **kwargs: Any,
    ) -> None:
        self._lock = threading.RLock()
        if size is not None:
            size = _checked_size(size)
            if version_id is None and details is None:
                details = _details_of_size(fs, path, size)
        if details is None:
            details = fs.info(path, refresh=must_refresh(fs, path), version_id=version_id)
        self._details = details
        connection, key = fs.locate(path)
        if self._details["type"] != "file":
            text = "Is a directory" if key else connection.no_key
            raise IsADirectoryError(errno.EISDIR, text, redact(path))
        # If the version from a cached listing is gone, the next open must not use it again.
        invalidate = weak_callback(fs.invalidate_cache, path)
        version = Version.from_info(self._details)
        if size is not None and version.size < size:
            raise ChangedError(
                errno.ESTALE,
                f"The file has {version.size} bytes, not size={size}: leave size= out, or correct it",
                redact(path),
            )
        self.reader = Reader(connection, key, version, invalidate, size)
        self._planned: Any = None
        super().__init__(fs, path, "rb", size=self.reader.size, **kwargs)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.reader.read(start, end - start)

    def read(self, length: int | None = -1) -> bytes:
        """Read bytes from the current position.

        Parameters
        ----------
        length : int, optional
            Number of bytes; -1 for all that follow.

        Returns
        -------
        bytes
            Fewer at the end of the file.

        Raises
        ------
        ChangedError
            If the file has changed since it was opened.
        """
        with self._lock:
            data: bytes = super().read(length)
            return data

    def seek(self, loc: int, whence: int = 0) -> int:
        """Change the current position, and return it."""
        with self._lock:
            return int(super().seek(loc, whence))

    def read_at(self, offset: int, size: int) -> bytes:
        """Read a range without the current position; many threads may do so at the same time.

        Parameters
        ----------
        offset : int
            Offset of the first byte.
        size : int
            Number of bytes.

        Returns
        -------
        bytes
            Fewer at the end of the file.

        Raises
        ------
        ChangedError
            If the file has changed since it was opened.
        """
        return self.reader.read(offset, size)

    def read_buffer(self, size: int | None = -1) -> Any:
        """Read bytes from the current position, with prefetch; pyarrow calls this where a file has it.

        Parameters
        ----------
        size : int, optional
            Number of bytes; negative or None for all that follow.

        Returns
        -------
        buffer
            Any object with the buffer protocol.

        Raises
        ------
        ChangedError
            If the file has changed since it was opened.
        ValueError
            If the file is closed.
        """
        with self._lock:
            if self.closed:
                raise ValueError("I/O operation on closed file.")
            if self._planned is None:
                open_reader = file_readers.load("pyarrow")
                if open_reader is None:
                    return self.read(size)
                self._planned = open_reader(self.fs, self.path, self.reader)
            self._planned.seek(self.tell())
            data = self._planned.read_buffer(size)
            super().seek(self._planned.tell())
            return data

    def close(self) -> None:
        """Close the file and stop its prefetch."""
        if self._planned is not None:
            self._planned.close()
        super().close()
        self.reader.release()


def _checked_size(size: Any) -> int:
    count = operator.index(size)
    if count < 0:
        raise ValueError(f"size must be 0 bytes or more, not {count}")
    return count


def _details_of_size(fs: BaseFileSystem, path: str, size: int) -> dict[str, Any] | None:
    """Return the info of a file whose size the caller knows; None if a request is needed nevertheless.

    Local services get one: it costs little, and their reads are pinned to a size and a time, not to an etag.
    """
    connection, key = fs.locate(path)
    if not key or connection.service.locality is not Locality.REMOTE:
        return None
    cached = fs.cached_info(path)
    if cached is not None and cached["type"] == "file" and cached["size"] >= size:
        return cached
    return {"name": path, "size": size, "type": "file"}
