"""The write handle: it publishes what DuckDB writes only if that is complete.

When a COPY fails, DuckDB closes the file like any other and removes it afterwards, so a close alone does not
mean success. Nothing is published, and the close raises, if

- a write failed, or the file was removed before the close;
- a Parquet file does not end with its magic bytes;
- text replaces an existing object, and its end is missing or uncertain (`text_end.TextEnd`). Text in zstd is
  always uncertain, and so is sometimes a complete file that several threads wrote;
- nothing was written, and the file replaces an existing object: most failed copies of CSV and JSON end so, as
  DuckDB writes 8 MiB at a time.

DuckDB ignores an error of the close while it cleans up, and reports it otherwise.

If no object exists, DuckDB removes the new file after a failure. Over an existing one it writes to
``tmp_<name>`` first and renames, except under schemes that it counts as remote, such as ``s3://``, and in
folders (PARTITION_BY, PER_THREAD_OUTPUT). With OVERWRITE it empties the folder first.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from functools import cache
from typing import Final

from opendalfs.errors import UnsupportedError, redact
from opendalfs.storage.connection import Connection
from opendalfs.write.writer import Writer, appending

from .callbacks import callback
from .file_search import stat_file
from .text_end import TextEnd

__all__ = ["WriteHandle", "is_parquet_complete", "open_write"]

_NEVER_CLOSED: Final = ("/schema.sql", "/load.sql")
"""Files that EXPORT DATABASE writes beside the tables, each with one write and without a close."""

_MAGIC: Final = (b"PAR1", b"PARE")
_SMALLEST: Final = 12
"""Bytes of a Parquet file without content: magic, length of the footer, magic."""

_SUFFIXES: Final = (".parquet", ".pq", ".parq")


def is_parquet_complete(head: bytes, tail: bytes, size: int, name: str = "") -> bool | None:
    r"""Whether a Parquet file is complete.

    Parameters
    ----------
    head, tail : bytes
        Its first 8 and its last 4 bytes.
    size : int
        Bytes of the file.
    name : str
        Its name, which decides whether an empty file is Parquet.

    Returns
    -------
    bool or None
        None if it is no Parquet file.

    Examples
    --------
    >>> is_parquet_complete(b"PAR1\x15\x04\x15\x10", b"\x00\x00\x02i", 4000)
    False
    >>> is_parquet_complete(b"PARENT,C", b"1,2\n", 4000) is None
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
        Writer of the object.
    name : str
        Its URL.
    exists : callable
        Returns whether the object exists.
    on_close : callable
        Called after a commit or an abort.
    """

    mode = "wb"

    def __init__(
        self,
        writer: Writer,
        name: str,
        exists: Callable[[], bool],
        on_close: Callable[[], object],
    ) -> None:
        self.name = name
        self._shown = redact(name)
        self._writer: Writer | None = writer
        self._exists = exists
        self._on_close = on_close
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
        """Write bytes; full parts are uploaded at once, several at a time.

        Returns
        -------
        int
            Bytes written: all.

        Raises
        ------
        OSError
            If a part could not be uploaded.
        ValueError
            If the file is closed.
        """
        with callback, self._lock:
            if self._writer is None:
                raise ValueError(f"cannot write: {self._shown} is closed")
            try:
                count = self._writer.write(data)
            except BaseException as exc:
                self._error = exc
                raise
            if len(self._head) < 8:
                self._head = (self._head + bytes(data[:8]))[:8]
            self._tail = (self._tail + bytes(data[-4:]))[-4:]
            self._text.add(data)
            if self.name.endswith(_NEVER_CLOSED):
                self._publish()
            return count

    def close(self) -> None:
        """Publish the object if it is complete.

        Raises
        ------
        OSError
            If it is incomplete, or could not be published.
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

    def discard(self) -> bool:
        """Publish nothing; return False if the object was published before."""
        with self._lock:
            if self._writer is None:
                return False
            self._error = InterruptedError(
                errno.EINTR, "Not published: the file was removed while it was open for writing", self._shown
            )
            self._writer.abort()
            return True

    def _check(self, size: int) -> None:
        if self._error is not None:
            raise OSError(
                errno.EIO, "Not published: a write has failed. Write it again", self._shown
            ) from self._error
        if is_parquet_complete(self._head, self._tail, size, self.name) is False:
            raise OSError(
                errno.EIO, "Not published: the Parquet file is incomplete. Write it again", self._shown
            )
        if not size and self._exists():
            raise self._maybe_failed_copy("nothing was written")
        if self._text.complete is False and self._exists():
            raise self._maybe_failed_copy(self._text.reason)

    def _maybe_failed_copy(self, reason: str) -> OSError:
        return OSError(
            errno.EIO,
            f"Existing object kept: {reason}, as after a failed COPY. "
            "Remove the object first (in a folder: OVERWRITE)",
            self._shown,
        )

    def tell(self) -> int:
        """Return the bytes written so far."""
        return self._start if self._writer is None else self._writer.size

    def seek(self, offset: int, whence: int = 0) -> int:
        """Return the position; raise UnsupportedError for any other one."""
        if (offset, whence) in ((0, 1), (0, 2), (self.tell(), 0)):
            return self.tell()
        raise UnsupportedError(
            f"cannot seek in {self._shown}: objects are written from the beginning to the end, without seeks"
        )

    def readable(self) -> bool:
        """Return False."""
        return False

    def seekable(self) -> bool:
        """Return False."""
        return False

    def writable(self) -> bool:
        """Return True."""
        return True

    def flush(self) -> None:
        """Do nothing: full parts are uploaded at once, the rest at the close."""


def open_write(
    connection: Connection, key: str, url: str, mode: str, on_close: Callable[[], object]
) -> WriteHandle:
    """Open a file for writing.

    Parameters
    ----------
    connection, key
        The object.
    url : str
        Its URL.
    mode : {"wb", "xb", "ab"}
        Replace, create or append.
    on_close : callable
        As for `WriteHandle`.

    Returns
    -------
    WriteHandle
    """
    writer = appending(connection, key) if mode == "ab" else Writer(connection, key, exclusive=mode == "xb")
    return WriteHandle(writer, url, cache(lambda: stat_file(connection, key) is not None), on_close)
