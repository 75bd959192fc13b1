"""Prediction of the column chunks of a Parquet file that will be read next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from opendalfs.read.ranges import Range

from .call_hints import CallHint
from .column_history import ColumnHistory
from .footer import Chunk, Footer

__all__ = ["ColumnPredictor"]

_CHEAP: Final = 1024 * 1024
"""Bytes of small row groups that are fetched beyond the window: they cost about as much as a round trip."""

_BEHIND: Final = 3
"""Row groups behind the furthest one whose data is kept, as Arrow's threads read out of order."""


class ColumnPredictor:
    """Predicts the column chunks that the next reads of one file need. The caller holds a lock.

    Parameters
    ----------
    history : ColumnHistory
        What recent reads have used.
    folder : str
        Directory of the file, for the history.
    columns : sequence of str, optional
        Columns that will be read.
    call_hint : CallHint, optional
        The arguments of the running call that reads the file.

    Attributes
    ----------
    passed : int
        Offset that the reader has passed: data below it is unlikely to be read.
    """

    def __init__(
        self,
        history: ColumnHistory,
        folder: str = "",
        columns: Sequence[str] | None = None,
        call_hint: CallHint | None = None,
    ) -> None:
        self.passed = 0
        self._history = history
        self._folder = folder
        self._named = None if columns is None else tuple(columns)
        self._call_hint = call_hint
        self._read: set[int] = set()
        self._planned: set[int] = set()
        self._first_group: int | None = None
        self._furthest_group = -1
        self._groups_read: set[int] = set()
        self._window = 1

    def before_first_read(self, footer: Footer) -> list[list[Range]]:
        """Return the chunks that will be needed, as known before anything is read; one list per row group."""
        call = self._call_hint
        if not footer.groups:
            return []
        if self._named is not None:
            self._read |= footer.columns(self._named)
            return [self._plan(footer, 0, self._read)]
        if call is None or not call.reads_all_rows(footer.names):
            return []
        columns = footer.columns(call.columns_of(footer.names))
        return [self._plan(footer, group, columns) for group in range(footer.groups)]

    def after_read(self, footer: Footer, read: Range) -> list[list[Range]]:
        """Return the chunks that are likely to be needed after a read; one list per row group.

        Parameters
        ----------
        footer : Footer
            Of the file.
        read : Range
            What is read.

        Returns
        -------
        list of list of Range
            Chunks that were returned before are left out.
        """
        chunks = footer.find(read)
        if not chunks:
            return []
        group = chunks[-1].group
        columns = {chunk.column for chunk in chunks}
        plans = []
        if self._first_group is None:
            self._first_group = chunks[0].group
            plans += self._at_first_read(footer, group, columns)
        # The read itself fetches the chunks that it covers.
        self._planned |= {_number(footer, c) for c in chunks if _covers(read, c.range)}
        new = columns - self._read
        self._read |= columns
        self._groups_read |= {chunk.group for chunk in chunks}
        if new:
            self._history.extend(self._key(footer), new)
        advanced = group > self._furthest_group
        if advanced:
            self._furthest_group = group
            # A call that reads all rows passes nothing: its threads may be far apart.
            if self._call_hint is None or not self._call_hint.reads_all_rows(footer.names):
                self.passed = footer.starts[max(group - _BEHIND, 0)]
            self._resize_window()
        return plans + self._in_window(footer, group) if new or advanced else plans

    def save(self, footer: Footer | None) -> None:
        """Set the columns that were read in the history; without any, nothing happens."""
        if footer is not None and self._read:
            self._history.replace(self._key(footer), self._read)

    @property
    def has_read(self) -> bool:
        """Whether any column was read."""
        return bool(self._read)

    def _key(self, footer: Footer) -> tuple[str, int]:
        return self._folder, footer.fingerprint

    def _at_first_read(self, footer: Footer, group: int, columns: set[int]) -> list[list[Range]]:
        """Return the chunks that are likely by the arguments of a call, named columns or an earlier read."""
        call = self._call_hint
        if call is not None:
            columns = columns | footer.columns(call.columns_of(footer.names))
            groups: Iterable[int] = range(footer.groups) if call.reads_all_rows(footer.names) else (group,)
            return [self._plan(footer, g, columns) for g in groups]
        if self._named is None:
            return [self._plan(footer, group, columns | self._history.get(self._key(footer)))]
        # They are there already, unless the first read of the footer has failed.
        self._read |= footer.columns(self._named)
        return []

    def _resize_window(self) -> None:
        """Double the window with each row group, as long as none was left out from the first one on."""
        # Arrow's threads read out of order, so a few may be missing that will still be read.
        if self._first_group or 4 * (len(self._groups_read) + 1) <= 3 * self._furthest_group:
            self._window = 1
        elif self._furthest_group > 0:
            self._window *= 2

    def _in_window(self, footer: Footer, group: int) -> list[list[Range]]:
        """Return the columns read so far of the row groups in the window, and of more if they are cheap."""
        last = min(self._furthest_group + self._window, footer.groups - 1)
        # A read that leaves nothing out also needs the row groups that its threads have not reached yet.
        first = group if self._first_group or self._window == 1 else 0
        plans = [self._plan(footer, g, self._read) for g in range(first, last + 1)]
        if self._first_group is None or self._furthest_group <= self._first_group:
            return plans
        spent = 0
        for g in range(last + 1, footer.groups):
            chunks = footer.chunks(g)
            spent += sum(chunks[column].range.size for column in self._read)
            if spent > _CHEAP:
                break
            plans.append(self._plan(footer, g, self._read))
        return plans

    def _plan(self, footer: Footer, group: int, columns: Iterable[int]) -> list[Range]:
        """Return the chunks of some columns of a row group that were not planned before."""
        first = group * footer.width
        new = [column for column in sorted(columns) if first + column not in self._planned]
        self._planned.update(first + column for column in new)
        chunks = footer.chunks(group)
        return [chunks[column].range for column in new]


def _number(footer: Footer, chunk: Chunk) -> int:
    return chunk.group * footer.width + chunk.column


def _covers(read: Range, chunk: Range) -> bool:
    return read.start <= chunk.start and chunk.stop <= read.stop
