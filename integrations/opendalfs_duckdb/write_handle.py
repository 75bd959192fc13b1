"""The write handle: what DuckDB writes is published when it is whole, and only then.

When a COPY fails, DuckDB closes the file that it has begun like any other and then removes it, so a close
alone does not mean success. What tells:

- *a write of ours failed*, or the file is removed before it is closed: nothing is published.
- *Parquet*: a whole file ends with its magic; anything else is not published.
- *text over an object that exists, whose end is missing or uncertain*: see `text.TextEnd`. Text in zstd is
  always uncertain, and so is now and then a whole file that several threads wrote.
- *nothing was written over an object that exists*: so most failed copies of CSV and JSON end (DuckDB writes
  8 MiB at a time).

In each case nothing is published and the close raises as well: DuckDB ignores that while it cleans up, and
reports it if it believes the file to be good.

Where no object exists DuckDB itself helps: it removes a new file again after a failure, and over an existing
one it writes to ``tmp_<name>`` first and renames. But it writes in place under schemes that it counts as
remote, such as ``s3://``, and into folders (PARTITION_BY, PER_THREAD_OUTPUT). With OVERWRITE it removes
what is in the folder before it begins.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Final

from opendalfs.errors import UnsupportedError, redact
from opendalfs.write.writer import Writer

from .callbacks import callback
from .text_end import TextEnd

__all__ = ["WriteHandle", "parquet_is_whole"]

_NEVER_CLOSED: Final = ("/schema.sql", "/load.sql")
"""What EXPORT DATABASE writes beside the tables: each with one write, after which it lets go of the file."""

_MAGIC: Final = (b"PAR1", b"PARE")
_SMALLEST: Final = 12
"""Bytes of a Parquet file without any content: magic, length of the footer, magic."""

_SUFFIXES: Final = (".parquet", ".pq", ".parq")


def parquet_is_whole(head: bytes, tail: bytes, size: int, name: str = "") -> bool | None:
    r"""Tell whether a Parquet file has its end.

    Parameters
    ----------
    head, tail : bytes
        Its first 8 and its last 4 bytes.
    size : int
        Bytes of all.
    name : str
        Its name, which counts while it is empty.

    Returns
    -------
    bool or None
        None when it is no Parquet file.

    Examples
    --------
    >>> parquet_is_whole(b"PAR1\x15\x04\x15\x10", b"\x00\x00\x02i", 4000)
    False
    >>> parquet_is_whole(b"PARENT,C", b"1,2\n", 4000) is None
    True
    """
    if not size:
        return False if name.lower().endswith(_SUFFIXES) else None
    # The fifth byte begins a Thrift struct; in an encrypted file the eighth ends a length below 16 MiB.
    plain = head[:4] == b"PAR1" and head[4:5] in (b"", b"\x15")
    encrypted = head[:4] == b"PARE" and head[7:8] in (b"", b"\0")
    if not plain and not encrypted:
        return None
    return size >= _SMALLEST and tail in _MAGIC


class WriteHandle:
    """A file open for writing, by one thread after another.

    Parameters
    ----------
    writer : Writer
        Takes the bytes.
    name : str
        Its URL.
    exists : callable
        Tells whether the file exists already.
    closed : callable
        Called when something may have been published.
    """

    mode = "wb"

    def __init__(
        self,
        writer: Writer,
        name: str,
        exists: Callable[[], bool],
        closed: Callable[[], object],
    ) -> None:
        self.name = name
        self._shown = redact(name)
        self._writer: Writer | None = writer
        self._exists = exists
        self._on_close = closed
        self._lock = threading.Lock()
        self._start = writer.size
        self._error: BaseException | None = None
        self._head = b""
        self._tail = b""
        self._text = TextEnd(name, exists)

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._writer is None

    def write(self, data: bytes) -> int:
        """Take bytes; full parts go up at once, several at a time.

        Returns
        -------
        int
            How many were taken: all.
        """
        with callback, self._lock:
            if self._writer is None:
                raise ValueError(f"{self._shown} is closed")
            try:
                count = self._writer.write(data)
            except BaseException as exc:
                self._error = exc
                raise
            if len(self._head) < 8:
                self._head = (self._head + bytes(data[:8]))[:8]
            self._tail = (self._tail + bytes(data[-4:]))[-4:]
            self._text.take(data)
            if self.name.endswith(_NEVER_CLOSED):
                self._publish()
            return count

    def close(self) -> None:
        """Publish what was written, if it is whole.

        Raises
        ------
        OSError
            When it is not, or could not be published.
        """
        with callback, self._lock:
            if self._writer is not None:
                self._publish()

    def _publish(self) -> None:
        writer, self._writer = self._writer, None
        assert writer is not None
        try:
            self._check(writer.size - self._start)
            writer.commit()
        except BaseException:
            writer.abort()
            raise
        finally:
            self._on_close()

    def give_up(self) -> bool:
        """Publish nothing, unless that is done; tell whether it was in time."""
        with self._lock:
            if self._writer is None:
                return False
            self._error = InterruptedError(errno.EINTR, "Removed while it was being written", self._shown)
            self._writer.abort()
            return True

    def _check(self, size: int) -> None:
        if self._error is not None:
            raise OSError(errno.EIO, "Not published: a write of it has failed", self._shown) from self._error
        if parquet_is_whole(self._head, self._tail, size, self.name) is False:
            raise OSError(errno.EIO, "Not published: the Parquet file has no end", self._shown)
        if not size and self._exists():
            raise self._like_a_failed_copy("nothing was written")
        if self._text.whole is False and self._exists():
            raise self._like_a_failed_copy(self._text.doubt)

    def _like_a_failed_copy(self, found: str) -> OSError:
        return OSError(
            errno.EIO,
            f"Not published: {found}, which over an existing object cannot be told from a failed COPY. "
            "If the COPY itself is right, remove it first (in a folder: OVERWRITE)",
            self._shown,
        )

    def tell(self) -> int:
        """Give the bytes written so far."""
        return self._start if self._writer is None else self._writer.size

    def seek(self, offset: int, whence: int = 0) -> int:
        """Stay where it is; another place is refused."""
        if (offset, whence) in ((0, 1), (0, 2), (self.tell(), 0)):
            return self.tell()
        raise UnsupportedError(f"{self._shown}: objects are written from beginning to end, without seeks")

    def readable(self) -> bool:
        """Tell that it does not read."""
        return False

    def seekable(self) -> bool:
        """Tell that it does not seek."""
        return False

    def writable(self) -> bool:
        """Tell that it takes bytes."""
        return True

    def flush(self) -> None:
        """Do nothing: parts go up when they are full, the rest at the close."""
