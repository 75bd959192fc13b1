"""Cells that are wrong because of what the wheel does not report."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache

from .cells import Cell

__all__ = ["TIMED", "UPSTREAM", "reason"]

_RANGES = (
    "cat_file, a range",
    "cat_ranges",
    "cat_ranges, async",
    "get, a file",
    "open, sequential",
    "open, seeks",
    "open_async, sequential",
    "arrow(), read_at",
)
TIMED = ("cat_file, large", "cat_file, async")
"""Operations that read the rest of an object in ranges, or in the first response if that is fast enough."""

_WHOLE = ("cat_file, small", "cat_file, large", "cat_file, async", "cat, several files")
_LISTINGS = (
    "isdir-list-{}-*",
    "ls-list-{}-once",
    "ls, two pages-list-{}-once",
    "ls, two pages-list-{}-later-always",
    "find-list-{}-*",
    "find, two pages-list-{}-once",
    "find, two pages-list-{}-always",
    "find, two pages-list-{}-later",
    "find, two pages-list-{}-later-always",
    "find, async-list-{}-*",
    "glob-list-{}-*",
    "glob, recursive-list-{}-*",
    "du-list-{}-*",
    "walk-list-{}-always",
    "arrow(), a selector-list-{}-once",
)

UPSTREAM: dict[str, tuple[str, ...]] = {
    "Content-Range is not checked": (
        *(f"{name}-get-wrong-range-*" for name in _RANGES + TIMED),
        "pq.read_table-get-wrong-range-later*",
        "DuckDB, a select from Parquet-get-wrong-range-later*",
    ),
    "A write that fails with status 200 is reported as a success": (
        "pipe*-put-error-200-*",
        'open("wb"), small-put-error-200-*',
        "put*-put-error-200-*",
        "pyarrow.dataset.write_dataset-put-error-200-*",
        "Polars, sink_csv, gateway-put-error-200-*",
    ),
    "An empty page that promises more is requested again and again": (
        "mv, a file-list-list-repeated-always",
        "rm, a directory-list-list-repeated-always",
        "put, a directory-list-list-repeated-always",
        "DuckDB, COPY*-list-list-repeated-always",
    ),
    "A short response can pass for a whole object": tuple(f"{name}-get-short-length-*" for name in _WHOLE),
    "An error with status 200 ends a listing": tuple(
        pattern.format(fault) for pattern in _LISTINGS for fault in ("list-html", "list-error")
    ),
}
"""Titles of sections of docs/upstream.md, each with patterns of the cells that it explains."""


@cache
def reason(cell: Cell) -> str | None:
    """Return the title of the section that explains why a cell is wrong; None if it must not be."""
    name = str(cell)
    if "verified" in cell.operation:
        return None
    return next(
        (title for title, patterns in UPSTREAM.items() if any(fnmatchcase(name, p) for p in patterns)), None
    )
