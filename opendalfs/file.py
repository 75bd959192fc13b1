"""The file objects that ``open()`` returns: one to read, one to write.

Reading is fsspec's buffered file over a `Reader`, so every cache type of fsspec works; it may be read from
several threads, each read being whole. Writing publishes on a successful close and only then: leaving a
``with`` block on an exception, `discard`, or losing the last reference publishes nothing.
"""

from __future__ import annotations

import errno
import io
import logging
import operator
import sys
import threading
import warnings
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from fsspec.spec import AbstractBufferedFile

from .errors import ChangedError, redact
from .reader import Reader, Version, weakly
from .services import Home
from .writer import Writer

if TYPE_CHECKING:
    from .fs import OpendalFileSystem

__all__ = ["CompressedWriteFile", "ReadFile", "WriteFile"]

logger = logging.getLogger("opendalfs")


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
        fs: OpendalFileSystem,
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
            details = fs.info(path, refresh=fs.unsure(path), version_id=version_id)
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
                from opendalfs_arrow.files import open_planned

                self._planned = open_planned(self.fs, self.path, self.reader)
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


def _details_of_size(fs: OpendalFileSystem, path: str, size: int) -> dict[str, Any] | None:
    """Return the info of a file whose size the caller knows; None where the service is to be asked.

    Local services are: a stat is cheap there, and their reads are held to a size and a time, not to an etag.
    """
    connection, key = fs.locate(path)
    if not key or connection.service.home is not Home.REMOTE:
        return None
    known = fs._listed(path)
    if known is not None and known["type"] == "file" and known["size"] >= size:
        return known
    return {"name": path, "size": size, "type": "file"}


class WriteFile(io.RawIOBase):
    """A file open for writing.

    Parameters
    ----------
    fs : OpendalFileSystem
        Where it goes.
    path : str
        Its path, stripped.
    mode : {"wb", "xb", "ab"}
        Replace, create, or append.
    writer : Writer
        What takes the bytes.
    autocommit : bool
        Publish at close; otherwise at `commit`, as in a transaction.

    Notes
    -----
    An exception that began after the file was opened and is being handled when it is closed counts as a
    failure of the block that writes, because wrappers (text, compression, fsspec's OpenFile) pass on only
    the close: nothing is published then, and a warning is logged. Use `commit` to publish in an
    ``except`` block.
    """

    def __init__(
        self, fs: OpendalFileSystem, path: str, mode: str, writer: Writer, autocommit: bool = True
    ) -> None:
        super().__init__()
        self.fs = fs
        self.path = path
        self.mode = mode
        self.autocommit = autocommit
        self._writer: Writer | None = writer
        self._failed = False
        self._handled = sys.exc_info()[1]
        self._base = writer.size

    @property
    def full_name(self) -> str:
        """URL of the file."""
        return self.fs.unstrip_protocol(self.path)

    @property
    def name(self) -> str:
        """Path of the file."""
        return self.path

    def writable(self) -> bool:
        """Tell that it takes bytes."""
        return True

    def tell(self) -> int:
        """Give the bytes written so far; for "ab" those that were there included."""
        return 0 if self._writer is None else self._writer.size

    def write(self, data: Any) -> int:
        """Take bytes; waits while as many parts as may be are in flight."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if self._writer is None:
            # Discarded: a compressor still has its trailer to write.
            return memoryview(data).nbytes
        try:
            return self._writer.write(data)
        except BaseException:
            self._failed = True
            raise

    def flush(self, force: bool = False) -> None:
        """Do nothing: parts go up when they are full, the rest at close."""

    def close(self) -> None:
        """Publish, unless the block that wrote has failed or the file belongs to a transaction."""
        if self.closed:
            return
        try:
            if self._writer is None:
                return
            why = self._why_not()
            if why:
                logger.warning("%s was not published: it was closed %s", self.path, why)
                self.discard()
            elif self.autocommit:
                self.commit()
        finally:
            super().close()

    def _why_not(self) -> str:
        """Say why what was written may be half of it; empty when nothing speaks for that."""
        passing = sys.exc_info()[1]
        if passing is not None and passing is not self._handled:
            return f"while {type(passing).__name__} was passing"
        if self._failed:
            return "after a write had failed"
        return "by a finalizer, not by the program" if _finalizing() else ""

    def commit(self) -> None:
        """Publish what was written."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.commit()
        except BaseException:
            with suppress(OSError):
                writer.abort()
            raise
        finally:
            self.fs.invalidate_cache(self.path)

    def discard(self) -> None:
        """Publish nothing."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abort()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; on an exception publish nothing."""
        if exc is not None:
            self.discard()
        self.close()

    def __enter__(self) -> Self:
        """Give the file."""
        return self

    def _dealloc_warn(self, source: object) -> None:
        """Drop what was written: CPython's text wrapper calls this before it closes a lost file."""
        self._lost()

    def __del__(self) -> None:
        """Publish nothing: a file that nobody closed may be half written."""
        self._lost()

    def _lost(self) -> None:
        writer = getattr(self, "_writer", None)
        if writer is None or not self.autocommit:
            return
        self._writer = None
        if writer.size > self._base:
            warnings.warn(
                f"{self.path} was never closed, so it was not published",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __reduce__(self) -> Any:
        raise TypeError("a file open for writing cannot be pickled")


_WRAPPERS = 4
"""Python frames between a finalizer and the file that it closes: a wrapper or two."""


def _finalizing() -> bool:
    """Tell whether a ``__del__`` has called, as that of pyarrow's ParquetWriter, or the interpreter exits."""
    frame: FrameType | None = sys._getframe(1)
    # Past close and _why_not themselves.
    for _ in range(2 + _WRAPPERS):
        if frame is None:
            break
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return sys.is_finalizing()


class CompressedWriteFile(io.BufferedIOBase):
    """A compressor over a `WriteFile`; closing it closes both, which fsspec's own compressors do not.

    Parameters
    ----------
    compressor : file-like
        Compresses into `target`.
    target : WriteFile
        Takes the compressed bytes.
    """

    def __init__(self, compressor: Any, target: WriteFile) -> None:
        super().__init__()
        self._compressor = compressor
        self._target = target

    def writable(self) -> bool:
        """Tell that it takes bytes."""
        return True

    def write(self, data: Any) -> int:
        """Compress bytes."""
        self._compressor.write(data)
        return memoryview(data).nbytes

    def close(self) -> None:
        """Finish the compressed stream and publish it."""
        if self.closed:
            return
        try:
            self._compressor.close()
        except BaseException:
            self._target.discard()
            raise
        finally:
            super().close()
            self._target.close()

    def __exit__(self, *details: Any) -> None:
        """Close; on an exception publish nothing."""
        if details[1] is not None:
            self._target.discard()
        self.close()

    def _dealloc_warn(self, source: object) -> None:
        self._target._dealloc_warn(source)

    def __del__(self) -> None:
        """Publish nothing; the base class would close the file."""
        target = getattr(self, "_target", None)
        if target is not None:
            target._lost()
