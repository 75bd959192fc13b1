"""Tells whether a text file has its end: a COPY that failed leaves off in the middle of one."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

__all__ = ["TextEnd"]

_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_WITH_HEADER: Final = zlib.MAX_WBITS | 16


class TextEnd:
    r"""Follows the bytes of a CSV or JSON file, in gzip or not.

    DuckDB writes the end of a line when it begins the next one, and that of the last line when all is
    done. So a file that it left off in the middle has a last line without an end, with two exceptions: a
    table that several threads copy in its order ends in a whole line wherever DuckDB 2.0 leaves off, and
    so does a file of one column that leaves off at a NULL.

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
        self._last = b""

    def take(self, data: bytes) -> None:
        """Take the bytes that come next."""
        if not self._begun:
            self._begin(data)
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
            self._known = False
        elif self._known and data.startswith(_GZIP):
            self._known = self._asked()
            self._gzip = zlib.decompressobj(_WITH_HEADER) if self._known else None

    @property
    def whole(self) -> bool | None:
        """Whether the last line has its end; None where that cannot be told."""
        if not self._known or not self._begun:
            return None
        return self._last in (b"\n", b"\r") and (self._gzip is None or self._gzip.eof)
