"""The file object that ``open()`` returns for reading; those for writing are in `write_file`.

It is fsspec's buffered file over a `Reader`, so every cache type of fsspec works; it may be read from several
threads, each read being whole.
"""

from __future__ import annotations

import errno
import operator
import threading
from typing import Any

from fsspec.spec import AbstractBufferedFile

from opendalfs.errors import ChangedError, redact
from opendalfs.read.reader import Reader, Version, weakly
from opendalfs.services import Home

from . import file_readers
from .base import BaseFileSystem, must_refresh

__all__ = ["ReadFile"]


class ReadFile(AbstractBufferedFile):
    """A file open for reading, pinned to the version that was there when it was opened.

    Parameters
    ----------
    fs : OpendalFileSystem
        Where it is.
    path : str
        Its path, stripped.
    details : dict, optional
        What ``info`` tells of it; asked for when needed.
    size : int, optional
        Bytes of the file, where the caller knows them: a remote service is not asked, and what lies past
        them is not read. Reads are pinned to the version that a remembered listing shows, if any.
    **kwargs
        As fsspec's `AbstractBufferedFile` takes them: ``block_size`` (bytes), ``cache_type``,
        ``cache_options``.

    Raises
    ------
    ChangedError
        When the file is known to be shorter than `size`; when it is not known, a read raises it.
    FileNotFoundError
        When there is no such file; with `size` on a remote service the first read raises it.
    IsADirectoryError
        For a directory.
    ValueError
        For a negative `size`.
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
        # A listing may have told of a version that is gone; the next to open it must not be told so again.
        forget = weakly(fs.invalidate_cache, path)
        version = Version.from_info(self._details)
        if size is not None and version.size < size:
            raise ChangedError(
                errno.ESTALE,
                f"The file has {version.size} bytes, not size={size}: leave size= out, or correct it",
                redact(path),
            )
        self.reader = Reader(connection, key, version, forget, size)
        self._planned: Any = None
        super().__init__(fs, path, "rb", size=self.reader.size, **kwargs)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.reader.read(start, end - start)

    def read(self, length: int | None = -1) -> bytes:
        """Read from the position on; all of the rest for -1."""
        with self._lock:
            data: bytes = super().read(length)
            return data

    def seek(self, loc: int, whence: int = 0) -> int:
        """Move the position."""
        with self._lock:
            return int(super().seek(loc, whence))

    def read_at(self, offset: int, size: int) -> bytes:
        """Read a range, whatever the position is; from any number of threads at the same time.

        Parameters
        ----------
        offset : int
            First byte, inclusive.
        size : int
            Bytes; what lies past the end is left out.

        Returns
        -------
        bytes
        """
        return self.reader.read(offset, size)

    def read_buffer(self, size: int | None = -1) -> Any:
        """Read from the position on, out of requests made ahead; of Python's files, pyarrow calls this.

        Parameters
        ----------
        size : int, optional
            Bytes; all of the rest when negative or None.

        Returns
        -------
        buffer
            Any object with the buffer protocol.
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
        """Close the file and stop what was begun ahead."""
        if self._planned is not None:
            self._planned.close()
        super().close()


def _checked_size(size: Any) -> int:
    count = operator.index(size)
    if count < 0:
        raise ValueError(f"size is 0 bytes or more, not {count}")
    return count


def _details_of_size(fs: BaseFileSystem, path: str, size: int) -> dict[str, Any] | None:
    """Return the info of a file whose size the caller knows; None where the service is to be asked.

    Local services are: a stat is cheap there, and their reads are held to a size and a time, not to an etag.
    """
    connection, key = fs.locate(path)
    if not key or connection.service.home is not Home.REMOTE:
        return None
    known = fs.cached_info(path)
    if known is not None and known["type"] == "file" and known["size"] >= size:
        return known
    return {"name": path, "size": size, "type": "file"}
