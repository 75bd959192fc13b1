"""The file objects that pyarrow reads from."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from opendalfs import tracing
from opendalfs.errors import ChangedError
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.read.readahead import ReadAhead, Settings
from opendalfs.read.reader import Reader
from opendalfs.runtime import process
from opendalfs.runtime.engine_calls import engine_call

from .call_hints import find_call
from .file_cache import file_cache_of
from .scan import Scan

__all__ = ["READ_AHEAD", "STREAMED", "RandomFile", "StreamFile", "open_planned", "open_scan"]

READ_AHEAD: Final = Settings(first=4 << 20, largest=4 << 20, ahead=3)
_STREAK: Final = 3
"""Consecutive reads, each from where the one before ended, after which a file is read ahead as a stream."""

STREAMED: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".gz", ".bz2", ".zst", ".xz")
"""Suffixes of files that are read from start to end: their end is not read first."""


class _InputFile(io.RawIOBase):
    """A file open for reading, with a position; subclasses read ranges."""

    mode = "rb"

    def __init__(self) -> None:
        super().__init__()
        self._position = 0

    @property
    def size(self) -> int:
        raise NotImplementedError

    def _read_range(self, offset: int, size: int) -> Any:
        raise NotImplementedError

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position, as `io.IOBase.seek` does."""
        start = 0 if whence == 0 else self._position if whence == 1 else self.size
        self._position = start + offset
        return self._position

    def read_buffer(self, size: int | None = None) -> Any:
        """Read from the position on, into any object with the buffer protocol; only pyarrow calls this."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        # What the parent had in flight never arrives in a forked child.
        process.check_fork()
        with engine_call:
            count = self.size - self._position if size is None or size < 0 else size
            data = self._read_range(self._position, max(count, 0))
            self._position += memoryview(data).nbytes
            return data

    def read(self, size: int | None = None) -> bytes:
        """Read from the position on."""
        return bytes(self.read_buffer(size))


class RandomFile(_InputFile):
    """A file for random access, read through a `Scan`; consecutive reads of other formats are read ahead.

    Parameters
    ----------
    scan : Scan
        Serves the reads.
    """

    def __init__(self, scan: Scan) -> None:
        super().__init__()
        self._scan = scan
        self._stream: ReadAhead | None = None
        self._last_stop = 0
        self._streak = 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._scan.tail.size

    def _read_range(self, offset: int, size: int) -> Any:
        self._streak = self._streak + 1 if offset == self._last_stop else 0
        self._last_stop = offset + size
        tail = self._scan.tail
        # For Parquet the footer is a better guide than the order of the reads.
        if self._streak < _STREAK or tail.start <= offset or tail.is_parquet:
            return self._scan.read(offset, size)
        if self._stream is None:
            self._stream = ReadAhead(tail.reader, READ_AHEAD)
        return self._stream.read(offset, size)

    def close(self) -> None:
        """Close the file and cancel the read-ahead; the last reference does the same when it goes."""
        if not self.closed:
            super().close()
            self._scan.close()
            if self._stream is not None:
                self._stream.close()


def open_scan(scan: Scan) -> pa.NativeFile:
    """Return the file that a scan reads; pyarrow reads one that is in memory without calls of Python."""
    whole = scan.tail.whole
    if whole is None:
        return pa.PythonFile(RandomFile(scan), mode="r")
    scan.close()
    tracing.add_bytes_wanted(len(whole))
    return pa.BufferReader(whole)


class StreamFile(_InputFile):
    """A file for sequential reading, with read-ahead.

    Parameters
    ----------
    reader : Reader
        Reads of the file; no request is made before the first read.
    reopen : bool
        Whether to read the current version, if the file has changed before the first read.
    """

    def __init__(self, reader: Reader, reopen: bool = False) -> None:
        super().__init__()
        self._stream = ReadAhead(reader, READ_AHEAD)
        # Only a version from a listing can be outdated, and only before the first read any other will do.
        self._may_reopen = reopen and reader.knows_size

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if self._may_reopen:
            self._at_one_version(lambda stream: stream.begin(self._position))
        return self._stream.reader.size

    def _read_range(self, offset: int, size: int) -> Any:
        return self._at_one_version(lambda stream: stream.read(offset, size))

    def _at_one_version(self, use: Callable[[ReadAhead], Any]) -> Any:
        """Use the stream; all later uses read the version of the file that the first one has read."""
        may_reopen, self._may_reopen = self._may_reopen, False
        try:
            return use(self._stream)
        except ChangedError:
            if not may_reopen:
                raise
            reader = self._stream.reader
            self._stream = ReadAhead(Reader(reader.connection, reader.key), READ_AHEAD)
            return use(self._stream)

    def close(self) -> None:
        """Close the file and cancel the read-ahead."""
        if not self.closed:
            super().close()
            self._stream.close()


def open_planned(fs: OpendalFileSystem, path: str, reader: Reader) -> RandomFile | StreamFile:
    """Return the file object that serves pyarrow's reads of a file of ``open()``.

    It is the entry point ``pyarrow`` of ``opendalfs.file_readers``.

    Parameters
    ----------
    fs : OpendalFileSystem
        The filesystem of the file.
    path : str
        Its path, stripped.
    reader : Reader
        Reads of its version.

    Returns
    -------
    RandomFile or StreamFile
    """
    if path.endswith(STREAMED):
        return StreamFile(reader)
    cache = file_cache_of(fs)
    folder = path.rpartition("/")[0]
    call = find_call(fs, path, fs._strip_protocol)
    hint = None if call is None else call.hint
    tail = cache.tails.get(path, reader)
    return RandomFile(Scan(tail, cache.column_history, folder, call_hint=hint, budget=cache.budget))
