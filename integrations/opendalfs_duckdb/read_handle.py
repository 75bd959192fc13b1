"""The read handle that DuckDB shares among its threads.

DuckDB 2 reads one handle from many threads at once, each time with two calls, ``seek`` and ``read``, and
other threads may run between the two. A handle with one position, which is every ordinary file object, then
returns bytes of another place, and the query a wrong result.
"""

from __future__ import annotations

import errno
import threading
from typing import Final

from opendalfs.errors import redact
from opendalfs.read.readahead import ReadAhead, Settings
from opendalfs.read.reader import Reader

from .callbacks import callback

__all__ = ["READ_AHEAD", "ReadHandle"]

READ_AHEAD: Final = Settings(
    first=256 << 10, largest=4 << 20, ahead=4, ahead_from=256 << 10, whole=1 << 20, keep=32 << 20
)
"""For compressed text. DuckDB reads gzip in pieces of 32 KiB, and it reads text twice: first to detect the
dialect, which may take it to the end of the file, and then for the query."""


class _Mark(threading.local):
    """Where this thread's last seek went, and in which epoch."""

    position = -1
    epoch = -1


class ReadHandle:
    """A file open for reading, for any number of threads.

    A ``seek`` leaves a mark for its own thread, which the thread's next ``read`` uses up: such a pair is
    one positioned read, without a lock, whatever other threads do meanwhile. A ``read`` without a seek of
    its thread goes on where the file's one common position is, which is how DuckDB streams compressed
    files, even from changing threads. It opens a new epoch, in which older marks count no more: a thread
    whose seek lies before another's streaming read has handed the stream over.

    Nothing needs a close, which DuckDB mostly does not call.

    Parameters
    ----------
    reader : Reader
        Of one version of the file.
    name : str
        Its URL.
    """

    mode = "rb"
    closed = False

    def __init__(self, reader: Reader, name: str) -> None:
        self.name = name
        self._reader = reader
        self._ahead = ReadAhead(reader, READ_AHEAD)
        self._lock = threading.Lock()
        self._mark = _Mark()
        self._epoch = 0
        self._position = 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._reader.size

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set where this thread's next read begins.

        Parameters
        ----------
        offset : int
            Bytes from the place that `whence` tells.
        whence : {0, 1, 2}
            The beginning, the position, or the end.

        Returns
        -------
        int
            The position, from the beginning.
        """
        base = (0, self._position, self.size)[whence] if whence else 0
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}, before the beginning of {redact(self.name)}")
        position = base + offset
        mark = self._mark
        mark.position, mark.epoch = position, self._epoch
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Read from where this thread sought, or go on at the common position.

        Parameters
        ----------
        size : int
            Bytes; all of the rest for a negative number. Fewer come only at the end of the file.

        Returns
        -------
        bytes

        Raises
        ------
        ChangedError
            When the file is no longer the one that was opened.
        """
        with callback:
            return self._read(size)

    def _read(self, size: int) -> bytes:
        mark = self._mark
        position, mark.position = mark.position, -1
        if position >= 0 and mark.epoch == self._epoch:
            size = self._clamp(position, size)
            self._position = position + size
            return self._positioned(position, size)
        with self._lock:
            position = self._position
            size = self._clamp(position, size)
            if not size:
                # At the end a loop asks once more; that takes no stream over.
                return b""
            self._epoch += 1
            data = self._whole(bytes(self._ahead.read(position, size)), size)
            self._position = position + size
            return data

    def _clamp(self, position: int, size: int) -> int:
        rest = max(0, self.size - position)
        return rest if size < 0 else min(size, rest)

    def _positioned(self, position: int, size: int) -> bytes:
        if not size:
            return b""
        held = self._ahead.held(position, size)
        return bytes(held) if held is not None else self._whole(self._reader.read(position, size), size)

    def _whole(self, data: bytes, size: int) -> bytes:
        if len(data) != size:
            raise OSError(errno.EIO, f"The service sent {len(data)} of {size} bytes", redact(self.name))
        return data

    def tell(self) -> int:
        """Give the common position."""
        return self._position

    def readable(self) -> bool:
        """Tell that it reads."""
        return True

    def seekable(self) -> bool:
        """Tell that it seeks."""
        return True

    def writable(self) -> bool:
        """Tell that it does not write."""
        return False

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: threads may still read, and nothing is held."""
