"""The byte ranges of one file that are queued, in flight or fetched, and the unread ranges of each."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from opendalfs.budget import Reservation
from opendalfs.read.plan import RequestSizes
from opendalfs.read.ranges import Range, coalesce, split

__all__ = ["Block", "BlockStore", "overlap"]


class Block:
    """One request, and the ranges of it that are still to be read.

    Parameters
    ----------
    part : Range
        What it fetches.
    unread : list of Range
        The ranges of it that are expected to be read.
    """

    __slots__ = ("future", "range", "unread")

    def __init__(self, part: Range, unread: list[Range]) -> None:
        self.range = part
        self.unread = unread
        self.future: Future[bytes] | None = None
        """None while the request is queued."""


class BlockStore:
    """Blocks in order of their offset and without overlap. The caller holds a lock.

    Parameters
    ----------
    reservation : Reservation
        Counts the bytes of requests in flight and of data that is held.
    sizes : RequestSizes
        Sizes of the requests. Where chunks are smaller than the gap, most of the fetched bytes may be gaps.
    """

    def __init__(self, reservation: Reservation, sizes: RequestSizes) -> None:
        self.reservation = reservation
        self._sizes = sizes
        self._blocks: list[Block] = []

    def add(self, ranges: Sequence[Range]) -> list[Block]:
        """Add blocks for ranges that will be read, near ones as one; return the new ones.

        What other blocks fetch already is kept there for these ranges, too.
        """
        for r in ranges:
            for block in self.touching(r):
                block.unread.append(overlap(block.range, r))
        missing = [gap for r in ranges for gap in self.gaps(r)]
        added: list[Block] = []
        for whole, members in coalesce(missing, self._sizes.gap):
            for part in (p for gap in self.gaps(whole) for p in split(gap, self._sizes.part)):
                unread = [o for m in members if (o := overlap(part, missing[m])).size > 0]
                if unread:
                    added.append(self._insert(part, unread))
        return added

    def cover(self, needed: Range) -> list[Block]:
        """Return the blocks that hold a range, in order; add new ones for what no block holds."""
        for gap in self.gaps(needed):
            for part in split(gap, self._sizes.part):
                self._insert(part, [part])
        return self.touching(needed)

    def touching(self, needed: Range) -> list[Block]:
        """Return the blocks that have bytes of a range, in order."""
        first = bisect.bisect_right(self._blocks, needed.start, key=_start) - 1
        stop = bisect.bisect_left(self._blocks, needed.stop, key=_start)
        return [b for b in self._blocks[max(first, 0) : stop] if b.range.stop > needed.start]

    def gaps(self, needed: Range) -> list[Range]:
        """Return the parts of a range that no block has."""
        return _subtract([needed], [b.range for b in self.touching(needed)])

    def start(self, block: Block, future: Future[bytes]) -> None:
        """Set the request of a block, whose bytes count from now on."""
        if block.future is None:
            self.reservation.grow(block.range.size)
        block.future = future

    def mark_read(self, block: Block, part: Range) -> None:
        """Remove a range from what is still to be read of a block, and the block if nothing is left."""
        block.unread = _subtract(block.unread, [part])
        if not block.unread:
            self.remove(block)

    def evict(self, before: int) -> bool:
        """Remove one fetched block that ends at an offset or below it; return whether there was one."""
        for block in self._blocks:
            if block.range.stop > before:
                return False
            if block.future is not None and block.future.done():
                self.remove(block)
                return True
        return False

    def remove(self, block: Block) -> None:
        """Remove a block; one that is not there is ignored."""
        if block in self._blocks:
            self._blocks.remove(block)
            if block.future is not None:
                self.reservation.shrink(block.range.size)

    def clear(self) -> list[Block]:
        """Remove all blocks and return them."""
        blocks, self._blocks = self._blocks, []
        self.reservation.release()
        return blocks

    def _insert(self, part: Range, unread: list[Range]) -> Block:
        block = Block(part, unread)
        bisect.insort(self._blocks, block, key=_start)
        return block


def overlap(a: Range, b: Range) -> Range:
    """Return the range that two ranges have in common; of negative size if they do not touch."""
    return Range(max(a.start, b.start), min(a.stop, b.stop))


def _start(block: Block) -> int:
    return block.range.start


def _subtract(ranges: Iterable[Range], cut: Iterable[Range]) -> list[Range]:
    """Return what remains of ranges without others, in the same order."""
    kept = list(ranges)
    for c in cut:
        kept = [
            piece
            for r in kept
            for piece in (Range(r.start, min(r.stop, c.start)), Range(max(r.start, c.stop), r.stop))
            if piece.size > 0
        ]
    return kept
