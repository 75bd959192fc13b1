"""The read handle that DuckDB shares among its threads.

DuckDB 2 reads one handle from many threads at once, each time with two calls, ``seek`` and ``read``, and
other threads may run between the two. With one position, as ordinary file objects have, such a read would
return bytes of another offset, and the query a wrong result.
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


class _LastSeek(threading.local):
    """The position and the epoch of this thread's last seek; position -1 after a read."""

    position = -1
    epoch = -1


class ReadHandle:
    """A file open for reading, for any number of threads.

    A ``seek`` stores the position for its own thread, and the thread's next ``read`` uses it once: such a
    pair is one positioned read, without a lock, whatever other threads do meanwhile. A ``read`` without a
    seek in its thread continues at the common position of the file: so DuckDB streams compressed files, even
    from changing threads. It begins a new epoch, and seeks of an older epoch are ignored: a thread that
    called ``seek`` before the streaming read of another thread has handed the stream over to it.

    The handle works without a close, which DuckDB mostly does not call.

    Parameters
    ----------
    reader : Reader
        Reader of one version of the file.
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
        self._mark = _LastSeek()
        self._epoch = 0
        self._position = 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._reader.size

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position of this thread's next read.

        Parameters
        ----------
        offset : int
            Bytes from the start that `whence` names.
        whence : {0, 1, 2}
            The beginning of the file, the common position, or the end of the file.

        Returns
        -------
        int
            The position in bytes from the beginning.

        Raises
        ------
        ValueError
            If the position is negative.
        """
        base = (0, self._position, self.size)[whence] if whence else 0
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}, before the beginning of {redact(self.name)}")
        position = base + offset
        mark = self._mark
        mark.position, mark.epoch = position, self._epoch
        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Read at the position of this thread's last seek, or else at the common position.

        Parameters
        ----------
        size : int
            Bytes; if negative, up to the end of the file.

        Returns
        -------
        bytes
            Fewer than `size` only at the end of the file.

        Raises
        ------
        ChangedError
            If the file is no longer the version that was opened.
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
                # A loop reads once more at the end; that must not begin a new epoch.
                return b""
            self._epoch += 1
            data = self._checked(bytes(self._ahead.read(position, size)), size)
            self._position = position + size
            return data

    def _clamp(self, position: int, size: int) -> int:
        rest = max(0, self.size - position)
        return rest if size < 0 else min(size, rest)

    def _positioned(self, position: int, size: int) -> bytes:
        if not size:
            return b""
        held = self._ahead.held(position, size)
        return bytes(held) if held is not None else self._checked(self._reader.read(position, size), size)

    def _checked(self, data: bytes, size: int) -> bytes:
        if len(data) != size:
            raise OSError(
                errno.EIO, f"The service sent {len(data)} of {size} bytes: try again", redact(self.name)
            )
        return data

    def tell(self) -> int:
        """Return the position that all threads share, in bytes."""
        return self._position

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return False."""
        return False

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: other threads may still read."""
