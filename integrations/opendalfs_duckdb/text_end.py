"""Detects whether a text file is complete: a failed COPY stops in the middle of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

__all__ = ["TextEnd"]

_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_WITH_HEADER: Final = zlib.MAX_WBITS | 16
_FULL: Final = 8 << 20
"""Bytes of DuckDB's writes of text before the last one, which is mostly smaller."""


class TextEnd:
    r"""Detects the end of a CSV or JSON file, plain or in gzip, from the bytes that are written.

    DuckDB writes the newline of a line when it begins the next one, and that of the last line at the end. So
    a file that it did not finish mostly lacks the last newline, but not always: with several threads, with
    PARTITION_BY, and at a NULL of a file with one column the buffer that was written last may end with a
    complete line. Before the end DuckDB writes full buffers only, so a file whose last write is a full buffer
    does not count as complete either, though sometimes it is.

    Parameters
    ----------
    name : str
        Name of the file; other than text files are not checked.
    needed : callable
        Returns whether the answer will be used; gzip is decompressed only then. Called at most once.

    Examples
    --------
    >>> end = TextEnd("a.csv", lambda: True)
    >>> end.add(b"x,y")
    >>> end.complete
    False
    >>> end.add(b"\n")
    >>> end.complete
    True
    """

    def __init__(self, name: str, needed: Callable[[], bool]) -> None:
        plain = name.lower().removesuffix(".gz").removesuffix(".zst")
        self._checked = plain.endswith(_SUFFIXES)
        self._needed = needed
        self._begun = False
        self._gzip: zlib._Decompress | None = None
        self._zstd = False
        self._last = b""
        self._full = False

    def add(self, data: bytes) -> None:
        """Add the bytes of one write."""
        if not self._begun:
            self._begin(data)
        self._full = len(data) >= _FULL
        if self._gzip is not None:
            try:
                data = self._gzip.decompress(data)
            except zlib.error:
                self._checked = False
        if self._checked:
            self._last = bytes(data[-1:]) or self._last

    def _begin(self, data: bytes) -> None:
        self._begun = True
        if data.startswith(_ZSTD):
            self._zstd = True
        elif self._checked and data.startswith(_GZIP):
            self._checked = self._needed()
            self._gzip = zlib.decompressobj(_WITH_HEADER) if self._checked else None

    @property
    def complete(self) -> bool | None:
        """Whether the text is complete; False if that is uncertain, None for other files."""
        if not self._checked or not self._begun:
            return None
        if self._zstd:
            return False
        if self._gzip is not None:
            return self._gzip.eof and self._ends
        return self._ends and not self._full

    @property
    def reason(self) -> str:
        """Why `complete` is False."""
        if self._zstd:
            return "the end of text in zstd is not checked"
        if self._gzip is None and self._ends:
            return "it ends with a full buffer of DuckDB"
        return "the last line has no newline"

    @property
    def _ends(self) -> bool:
        return self._last in (b"\n", b"\r")
