"""Whether a text file has its end: a COPY that failed leaves off in the middle of one."""

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
"""Bytes of the smallest write of text before the end; the last write of a whole file is mostly smaller."""


class TextEnd:
    r"""Follows the bytes of a CSV or JSON file, in gzip or not.

    DuckDB writes the end of a line when it begins the next one, and that of the last line when all is
    done. So a file that it left off in the middle has a last line without an end, but not always: with
    several threads, with PARTITION_BY, and at a NULL of a file with one column the buffer that was written
    last may end with a whole line. Before the end DuckDB writes full buffers only, so a file whose last write
    is a full buffer is not taken for whole either, though now and then it is.

    Parameters
    ----------
    name : str
        Of the file; only names of text files are judged.
    asked : callable
        Tells whether anybody will want to know, so that gzip has to be read; asked at most once.

    Examples
    --------
    >>> end = TextEnd("a.csv", lambda: True)
    >>> end.take(b"x,y")
    >>> end.whole
    False
    >>> end.take(b"\n")
    >>> end.whole
    True
    """

    def __init__(self, name: str, asked: Callable[[], bool]) -> None:
        plain = name.lower().removesuffix(".gz").removesuffix(".zst")
        self._known = plain.endswith(_SUFFIXES)
        self._asked = asked
        self._begun = False
        self._gzip: zlib._Decompress | None = None
        self._zstd = False
        self._last = b""
        self._full = False

    def take(self, data: bytes) -> None:
        """Take the bytes that come next, of one write."""
        if not self._begun:
            self._begin(data)
        self._full = len(data) >= _FULL
        if self._gzip is not None:
            try:
                data = self._gzip.decompress(data)
            except zlib.error:
                self._known = False
        if self._known:
            self._last = bytes(data[-1:]) or self._last

    def _begin(self, data: bytes) -> None:
        self._begun = True
        if data.startswith(_ZSTD):
            self._zstd = True
        elif self._known and data.startswith(_GZIP):
            self._known = self._asked()
            self._gzip = zlib.decompressobj(_WITH_HEADER) if self._known else None

    @property
    def whole(self) -> bool | None:
        """Whether the text has its end; False where that is uncertain, None for other files."""
        if not self._known or not self._begun:
            return None
        if self._zstd:
            return False
        if self._gzip is not None:
            return self._gzip.eof and self._ends
        return self._ends and not self._full

    @property
    def doubt(self) -> str:
        """Why `whole` is False."""
        if self._zstd:
            return "the end of text in zstd is not checked"
        if self._gzip is None and self._ends:
            return "it ends with a full buffer"
        return "the last line has no end"

    @property
    def _ends(self) -> bool:
        return self._last in (b"\n", b"\r")
