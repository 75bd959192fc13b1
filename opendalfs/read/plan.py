"""Plans the fetches that serve ranges of an object, and puts their bytes into the ranges asked for."""

from __future__ import annotations

import errno
import io
from collections.abc import Sequence
from typing import Any, Final

from opendalfs import tracing
from opendalfs.storage.connection import Connection

from .ranges import Fetch, Range, clamp, plan

__all__ = ["Assembly", "Slice", "cut", "grouped", "only_fetch", "planned", "spread"]

Slice = tuple[int | None, int | None]
"""Start (inclusive) and stop (exclusive), as in a Python slice."""

_MOST: Final = 1 << 40
"""Bytes that one call reads into memory at most: a server may claim any size, and each part is planned."""


class Assembly:
    """Puts fetched parts where the wanted ranges need them.

    A range that one fetch serves alone is that fetch's own bytes; one of several within a fetch is cut
    out of it; one that spans fetches is filled in place, so that no part is held longer than its copy.

    Parameters
    ----------
    wanted : sequence of Range
        What was asked for.
    fetches : sequence of Fetch
        What `ranges.plan` made of it.
    """

    def __init__(self, wanted: Sequence[Range], fetches: Sequence[Fetch]) -> None:
        self.wanted = wanted
        self.fetches = fetches
        served = [0] * len(wanted)
        for fetch in fetches:
            for i in fetch.members:
                served[i] += 1
        self._done: list[bytes | None] = [None if r.size else b"" for r in wanted]
        self._large = {i: io.BytesIO(bytes(wanted[i].size)) for i, n in enumerate(served) if n > 1}

    def put(self, i: int, data: bytes) -> None:
        """Take the bytes of fetch `i`; safe from several threads, each with its own `i`."""
        part, members = self.fetches[i]
        for m in members:
            want = self.wanted[m]
            if want == part:
                self._done[m] = data
            elif m in self._large:
                self._fill(m, want, part, data)
            else:
                self._done[m] = data[want.start - part.start : want.stop - part.start]

    def _fill(self, m: int, want: Range, part: Range, data: bytes) -> None:
        start, stop = max(want.start, part.start), min(want.stop, part.stop)
        source = memoryview(data)[start - part.start : stop - part.start]
        with self._large[m].getbuffer() as view:
            view[start - want.start : stop - want.start] = source

    def results(self) -> list[bytes]:
        """Give the wanted ranges, in the order they were asked for."""
        for m, buffer in self._large.items():
            self._done[m] = buffer.getvalue()
        return [b"" if data is None else data for data in self._done]


def planned(connection: Connection, ranges: Sequence[Slice], size: int, gap: int | None) -> Assembly:
    """Decide which requests serve ranges of an object of known size; their bytes go into what is returned."""
    wanted = [clamp(a, b, size) for a, b in ranges]
    total = sum(r.size for r in wanted)
    if total > _MOST:
        raise OSError(errno.EFBIG, f"{total} bytes do not fit into memory: read the object in parts")
    tracing.add_bytes_wanted(total)
    return Assembly(wanted, _fetches(connection, wanted, gap))


def only_fetch(connection: Connection, ranges: Sequence[Slice], gap: int | None) -> Range | None:
    """Give the one request that serves ranges of an object of unknown size, if there is one."""
    known = [Range(a or 0, b) for a, b in ranges if b is not None and b >= 0 and (a or 0) >= 0]
    if len(known) < len(ranges):
        return None
    if any(r.size > connection.tuning.read_chunk for r in known):
        return None
    fetches = _fetches(connection, known, gap)
    return fetches[0].range if len(fetches) == 1 else None


def _fetches(connection: Connection, wanted: Sequence[Range], gap: int | None) -> list[Fetch]:
    tuning = connection.tuning
    return plan(wanted, gap=tuning.max_gap if gap is None else gap, part=tuning.read_chunk)


def cut(data: bytes, fetched: Range, ranges: Sequence[Slice]) -> list[bytes]:
    """Cut ranges out of the one fetch that served them all."""
    wanted = [Range(a or 0, max(a or 0, b or 0)) for a, b in ranges]
    tracing.add_bytes_wanted(sum(r.size for r in wanted))
    return [data[r.start - fetched.start : r.stop - fetched.start] for r in wanted]


Groups = dict[str, list[tuple[int, int | None, int | None]]]


def grouped(paths: list[str], starts: Any, ends: Any) -> Groups:
    """Sort the ranges of a cat_ranges by file, each with its position in the answer."""
    if not isinstance(paths, list):
        raise TypeError("paths is a list, with a path for each range")
    first = starts if isinstance(starts, (list, tuple)) else [starts] * len(paths)
    last = ends if isinstance(ends, (list, tuple)) else [ends] * len(paths)
    if not len(first) == len(last) == len(paths):
        raise ValueError("paths, starts and ends are of different lengths")
    groups: Groups = {}
    for i, path in enumerate(paths):
        groups.setdefault(path, []).append((i, first[i], last[i]))
    return groups


def spread(groups: Groups, found: list[list[Any]], count: int, on_error: str) -> list[Any]:
    """Put what was read of each file back into the order it was asked for."""
    out: list[Any] = [None] * count
    for members, results in zip(groups.values(), found, strict=True):
        for (i, _, _), data in zip(members, results, strict=True):
            out[i] = data
    if on_error != "return":
        for data in out:
            if isinstance(data, BaseException):
                raise data
    return out
