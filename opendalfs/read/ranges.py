"""Byte ranges: clamp, coalesce, split, divide into blocks. Pure functions without storage or state.

A range is ``(start, stop)`` in bytes, the start inclusive, the stop exclusive, as in a Python slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Blocks", "Fetch", "Range", "clamp", "coalesce", "plan_fetches", "split"]


class Range(NamedTuple):
    """Bytes ``start`` (inclusive) to ``stop`` (exclusive) of an object."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Bytes of the range."""
        return self.stop - self.start


class Fetch(NamedTuple):
    """A request for a range, and the ranges that it serves.

    Parameters
    ----------
    range : Range
        The range to request.
    members : tuple of int
        Positions of the ranges that it serves, in the list that was planned.
    """

    range: Range
    members: tuple[int, ...]


def clamp(start: int | None, stop: int | None, size: int) -> Range:
    """Return the bytes of an object that a slice selects, as ``bytes[start:stop]`` does.

    Parameters
    ----------
    start, stop : int or None
        Start (inclusive) and stop (exclusive) in bytes; negative ones count from the end of the object.
    size : int
        Bytes of the object.

    Returns
    -------
    Range
        Within ``[0, size]``; empty if the slice is.

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
    """Merge ranges that are close together.

    Parameters
    ----------
    ranges : sequence of Range
        In any order; they may overlap, repeat and be empty. No fetch serves an empty range.
    gap : int
        Bytes between two ranges up to which they are merged; 0 merges ranges that touch.

    Returns
    -------
    list of Fetch
        In order of offset, more than `gap` bytes apart.

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
    """Split a range into parts of nearly equal size, one at a time, as a server may claim any size.

    Parameters
    ----------
    whole : Range
        The range to split.
    part : int
        Bytes of a part at most; at least 1.

    Yields
    ------
    Range
        In order, without holes; none for an empty range. Sizes differ by one byte at most, so that parts
        requested at the same time arrive at the same time.

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


def plan_fetches(ranges: Iterable[Range], *, gap: int, part: int) -> list[Fetch]:
    """Return the requests that serve ranges: ranges that are close together merged, large ones split.

    Parameters
    ----------
    ranges : iterable of Range
        In any order.
    gap : int
        Bytes between two ranges up to which one request serves both.
    part : int
        Bytes of a request at most.

    Returns
    -------
    list of Fetch
        In order of offset, without overlap; each serves at least one range. A range that was split is a
        member of several.

    Examples
    --------
    >>> plan_fetches([Range(0, 4), Range(6, 8)], gap=2, part=5)
    [Fetch(range=Range(start=0, stop=4), members=(0,)), Fetch(range=Range(start=4, stop=8), members=(1,))]
    """
    wanted = list(ranges)
    fetches: list[Fetch] = []
    for whole, members in coalesce(wanted, gap):
        pieces = list(split(whole, part))
        for piece, inside in zip(pieces, _members(wanted, members, pieces), strict=True):
            # If the gap is larger than a part, a part may lie between two ranges.
            if inside:
                fetches.append(Fetch(piece, tuple(inside)))
    return fetches


def _members(wanted: Sequence[Range], members: Iterable[int], pieces: Sequence[Range]) -> list[list[int]]:
    """Return for each piece the ranges that overlap it; members and pieces are in order of their start."""
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


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where the blocks of a range begin and end: each is twice as large as the one before, up to a limit.

    Parameters
    ----------
    span : Range
        What is divided.
    first : int
        Bytes of the first block, at least 1.
    largest : int
        Bytes of the largest blocks: `first` times a power of two.

    Examples
    --------
    >>> blocks = Blocks(Range(0, 100), first=10, largest=40)
    >>> [blocks.at(offset) for offset in (0, 10, 30, 70)]  # doctest: +NORMALIZE_WHITESPACE
    [Range(start=0, stop=10), Range(start=10, stop=30), Range(start=30, stop=70),
     Range(start=70, stop=100)]
    """

    span: Range
    first: int
    largest: int

    @classmethod
    def even(cls, span: Range, part: int) -> Blocks:
        """Return blocks of nearly equal size, so that blocks requested at the same time arrive together.

        Parameters
        ----------
        span : Range
            What is divided; not empty.
        part : int
            Bytes of a block at most.

        Returns
        -------
        Blocks
            As few as possible.
        """
        count = -(-span.size // part)
        size = -(-span.size // count)
        return cls(span, size, size)

    def at(self, offset: int) -> Range:
        """Return the block that an offset within the range lies in."""
        position = offset - self.span.start
        grown = self.largest - self.first
        if position >= grown:
            size = self.largest
            start = grown + (position - grown) // size * size
        else:
            doublings = (position // self.first + 1).bit_length() - 1
            size = self.first << doublings
            start = size - self.first
        start += self.span.start
        return Range(start, min(start + size, self.span.stop))
