"""The Python files that pyarrow reads through."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

from opendalfs.errors import ChangedError
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.read.readahead import ReadAhead, Settings
from opendalfs.read.reader import Reader
from opendalfs.runtime import process
from opendalfs.runtime.engine_calls import engine_call

from .call_hints import find_call
from .file_cache import file_cache_of
from .scan import Scan

__all__ = ["READ_AHEAD", "STREAMED", "RandomFile", "StreamFile", "open_planned"]

READ_AHEAD: Final = Settings(first=4 << 20, largest=4 << 20, ahead=3)
_STREAK: Final = 3
"""Reads in a row, each beginning where the one before ended, that make a stream."""

STREAMED: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".gz", ".bz2", ".zst", ".xz")
"""Endings of files that are read from front to back: their end is not read first."""


class _Input(io.RawIOBase):
    """What both kinds have: a position, and the methods of a file open for reading."""

    mode = "rb"

    def __init__(self) -> None:
        super().__init__()
        self._position = 0

    @property
    def size(self) -> int:
        raise NotImplementedError

    def _get(self, offset: int, size: int) -> Any:
        raise NotImplementedError

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it has a position."""
        return True

    def tell(self) -> int:
        """Give the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position, as `io.IOBase.seek` does."""
        start = 0 if whence == 0 else self._position if whence == 1 else self.size
        self._position = start + offset
        return self._position

    def read_buffer(self, size: int | None = None) -> Any:
        """Read from the position on, into any object with the buffer protocol; only pyarrow calls this."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        # What the parent had under way never arrives in a forked child.
        process.check_fork()
        with engine_call:
            count = self.size - self._position if size is None or size < 0 else size
            data = self._get(self._position, max(count, 0))
            self._position += memoryview(data).nbytes
            return data

    def read(self, size: int | None = None) -> bytes:
        """Read from the position on."""
        return bytes(self.read_buffer(size))


class RandomFile(_Input):
    """A file for random access, read through a `Scan`; ahead in parallel while it is read like a stream.

    Parameters
    ----------
    scan : Scan
        What serves the reads.
    """

    def __init__(self, scan: Scan) -> None:
        super().__init__()
        self._scan = scan
        self._stream: ReadAhead | None = None
        self._end = 0
        self._streak = 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._scan.tail.size

    def _get(self, offset: int, size: int) -> Any:
        self._streak = self._streak + 1 if offset == self._end else 0
        self._end = offset + size
        # The footer of Parquet tells more than the order of the reads.
        if self._streak < _STREAK or self._scan.tail.start <= offset or self._scan.tail.is_parquet:
            return self._scan.read(offset, size)
        if self._stream is None:
            self._stream = ReadAhead(self._scan.tail.reader, READ_AHEAD)
        return self._stream.read(offset, size)

    def close(self) -> None:
        """Close the file and stop reading ahead; losing the last reference does the same."""
        if not self.closed:
            super().close()
            self._scan.close()
            if self._stream is not None:
                self._stream.close()


class StreamFile(_Input):
    """A file for sequential reading: the next parts are fetched while one is being read.

    Parameters
    ----------
    reader : Reader
        Of the file; nothing is asked before the first read.
    again : bool
        Whether to open it anew, once, when it has changed since the reader's version was told.
    """

    def __init__(self, reader: Reader, again: bool = False) -> None:
        super().__init__()
        self._ahead = ReadAhead(reader, READ_AHEAD)
        # Until something of the version was given out, any other does as well.
        self._again = again and reader.knows_size

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if self._again:
            self._settled(lambda ahead: ahead.begin(self._position))
        return self._ahead.reader.size

    def _get(self, offset: int, size: int) -> Any:
        return self._settled(lambda ahead: ahead.read(offset, size))

    def _settled(self, ask: Callable[[ReadAhead], Any]) -> Any:
        """Ask something of the file, which settles which version it is that is read."""
        again, self._again = self._again, False
        try:
            return ask(self._ahead)
        except ChangedError:
            if not again:
                raise
            reader = self._ahead.reader
            self._ahead = ReadAhead(Reader(reader.connection, reader.key), READ_AHEAD)
            return ask(self._ahead)

    def close(self) -> None:
        """Close the file and stop reading ahead."""
        if not self.closed:
            super().close()
            self._ahead.close()


def open_planned(fs: OpendalFileSystem, path: str, reader: Reader) -> RandomFile | StreamFile:
    """Open a file for pyarrow whose reader knows its version; fsspec's file objects read through this.

    Parameters
    ----------
    fs : OpendalFileSystem
        Where it is.
    path : str
        Its path, stripped.
    reader : Reader
        Of it.

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
