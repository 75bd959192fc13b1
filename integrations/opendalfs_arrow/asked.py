"""What `pyarrow.parquet.read_table` was asked for.

It tells its filesystem nothing of the columns it will read, and its files are opened in threads of Arrow's.
So a scan that is asked for its first data looks for the call on the stacks of the running threads. What is
found there is a hint: when it is wrong, or pyarrow changes, it costs bytes or time, never the result.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pyarrow.parquet as pq

from opendalfs.fs import OpendalFileSystem

from .names import needed

__all__ = ["Asked", "asked_of"]

_CODE = pq.read_table.__code__


@dataclass(frozen=True)
class Asked:
    """The arguments of one call.

    Parameters
    ----------
    columns : tuple of str, or dict of pyarrow.compute.Expression, optional
        Columns to read, or to compute; None for all.
    filters : object
        As pyarrow takes them; None for all rows.
    """

    columns: tuple[str, ...] | dict[str, Any] | None
    filters: Any

    def names(self, known: list[str]) -> list[str]:
        """Give the columns that are read, out of those of a file."""
        expression = self.filters
        if isinstance(expression, list):
            expression = pq.filters_to_expression(expression)
        return needed(known, self.columns, expression)


def asked_of(fs: OpendalFileSystem | None, path: str) -> Asked | None:
    """Find the one running call that reads a file.

    Parameters
    ----------
    fs : OpendalFileSystem or None
        Where the file is; None for a filesystem of URLs.
    path : str
        Of the file.

    Returns
    -------
    Asked or None
        None when no call reads it, or several do that ask for different things.
    """
    found = [_asked(values) for values in _calls() if _reads(values, fs, path)]
    return found[0] if found and all(repr(a) == repr(found[0]) for a in found) else None


def _calls() -> Iterator[dict[str, Any]]:
    """Give the local variables of every call of read_table that runs."""
    for top in sys._current_frames().values():
        frame: FrameType | None = top
        while frame is not None:
            if frame.f_code is _CODE:
                yield dict(frame.f_locals)
            frame = frame.f_back


def _reads(values: dict[str, Any], fs: OpendalFileSystem | None, path: str) -> bool:
    used = values.get("filesystem")
    handler = getattr(used, "handler", used)
    if getattr(handler, "fs", handler) is not fs and getattr(handler, "fs", handler) != fs:
        return False
    source = values.get("source")
    sources = source if isinstance(source, list) else [source]
    texts = (str(s).rstrip("/") for s in sources if s is not None)
    # A path may be written as a URL, or be a directory above the file.
    return any(f"/{path}/".find(f"/{t.rpartition('://')[2].lstrip('/')}/") >= 0 for t in texts)


def _asked(values: dict[str, Any]) -> Asked:
    columns = values.get("columns")
    kept = columns if columns is None or isinstance(columns, dict) else tuple(columns)
    return Asked(kept, values.get("filters"))
