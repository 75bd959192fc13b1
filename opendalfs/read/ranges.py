"""Pure planning of byte ranges: clamp, coalesce, split. No storage, no state.

A range is ``(start, stop)`` in bytes, the start inclusive, the stop exclusive, as in a Python slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["Fetch", "Range", "clamp", "coalesce", "plan", "split"]


class Range(NamedTuple):
    """Bytes ``start`` (inclusive) to ``stop`` (exclusive) of an object."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


class Fetch(NamedTuple):
    """One merged range and the ranges it serves.

    Parameters
    ----------
    range : Range
        What to fetch.
    members : tuple of int
        Positions, in the list that was planned, of the ranges that lie within it.
    """

    range: Range
    members: tuple[int, ...]


def clamp(start: int | None, stop: int | None, size: int) -> Range:
    """Bring a slice within an object, as ``bytes[start:stop]`` does.

    Parameters
    ----------
    start, stop : int or None
        Ends of the slice in bytes; negative ones count from the end of the object.
    size : int
        Size of the object in bytes.

    Returns
    -------
    Range
        Within ``[0, size]``; empty where the slice is.

    Examples
    --------
    >>> clamp(-4, None, 10)
    Range(start=6, stop=10)
    >>> clamp(8, 100, 10)
    Range(start=8, stop=10)
    """
    first, last, _ = slice(start, stop).indices(size)
    return Range(first, max(first, last))


def coalesce(ranges: Sequence[Range], gap: int) -> list[Fetch]:
    """Merge ranges that lie close together.

    Parameters
    ----------
    ranges : sequence of Range
        In any order; they may overlap, repeat and be empty. Empty ones are served by no fetch.
    gap : int
        Largest hole in bytes that is fetched along rather than skipped; 0 merges what touches.

    Returns
    -------
    list of Fetch
        In order of offset, pairwise more than `gap` apart.

    Examples
    --------
    >>> coalesce([Range(0, 4), Range(6, 8), Range(50, 60)], gap=2)
    [Fetch(range=Range(start=0, stop=8), members=(0, 1)), Fetch(range=Range(start=50, stop=60), members=(2,))]
    """
    order = sorted((i for i, r in enumerate(ranges) if r.size > 0), key=lambda i: ranges[i])
    merged: list[Fetch] = []
    members: list[int] = []
    start = stop = 0
    for i in order:
        here = ranges[i]
        if members and here.start - stop <= gap:
            stop = max(stop, here.stop)
            members.append(i)
            continue
        if members:
            merged.append(Fetch(Range(start, stop), tuple(members)))
        start, stop, members = here.start, here.stop, [i]
    if members:
        merged.append(Fetch(Range(start, stop), tuple(members)))
    return merged


def split(whole: Range, part: int) -> Iterator[Range]:
    """Cut a range into parts of near equal size, one at a time: a server may claim any size.

    Parameters
    ----------
    whole : Range
        What to cut.
    part : int
        Largest part in bytes, at least 1.

    Yields
    ------
    Range
        In order, without holes; none for an empty range. Sizes differ by one byte at most, so that
        parts fetched at the same time end at the same time.

    Examples
    --------
    >>> list(split(Range(0, 10), 4))
    [Range(start=0, stop=4), Range(start=4, stop=7), Range(start=7, stop=10)]
    """
    if whole.size <= 0:
        return
    count = -(-whole.size // part)
    base, longer = divmod(whole.size, count)
    start = whole.start
    for i in range(count):
        stop = start + base + (1 if i < longer else 0)
        yield Range(start, stop)
        start = stop


def plan(ranges: Iterable[Range], *, gap: int, part: int) -> list[Fetch]:
    """Decide which requests serve a set of ranges: near ones merged, large ones split.

    Parameters
    ----------
    ranges : iterable of Range
        What is wanted, in any order.
    gap : int
        Largest hole in bytes that is fetched along.
    part : int
        Largest request in bytes.

    Returns
    -------
    list of Fetch
        In order of offset, without overlap; each serves at least one range. A range that was cut is a
        member of several.
    """
    wanted = list(ranges)
    fetches: list[Fetch] = []
    for whole, members in coalesce(wanted, gap):
        pieces = list(split(whole, part))
        for piece, inside in zip(pieces, _members(wanted, members, pieces), strict=True):
            # With a gap wider than a part, a whole part may lie in a hole.
            if inside:
                fetches.append(Fetch(piece, tuple(inside)))
    return fetches


def _members(wanted: Sequence[Range], members: Iterable[int], pieces: Sequence[Range]) -> list[list[int]]:
    """Tell which ranges lie in which piece; members come in order of their start, as pieces do."""
    inside: list[list[int]] = [[] for _ in pieces]
    first = 0
    for i in members:
        start, stop = wanted[i].start, wanted[i].stop
        while pieces[first].stop <= start:
            first += 1
        at = first
        while at < len(pieces) and pieces[at].start < stop:
            inside[at].append(i)
            at += 1
    return inside
