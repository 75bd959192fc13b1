"""A listing as a table: HTML in notebooks, text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from opendalfs import markup
from opendalfs.tracing.plot import format_size

from .info import Info

__all__ = ["ListingTable"]

_HEADER: Final = ("name", "size", "modified (UTC)")
_SIZE: Final = 1


class ListingTable:
    """A listing as a table of names, sizes and times, for a notebook or a terminal.

    Methods of the filesystem return plain lists and dicts, as fsspec's users expect; this only shows them.

    Parameters
    ----------
    listing : list or dict
        What `ls`, `find`, `glob` or `info` return with ``detail=True``. A list of names has no other column.
    rows : int
        Largest number of entries to show. The last line counts all of them.

    Raises
    ------
    TypeError
        If `listing` is something else.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> fs.pipe({"report/a.csv": b"1" * 1500, "report/b.csv": b"2", "report/old/c.csv": b""})
    >>> opendalfs.ListingTable(fs.ls("report", detail=False))
    name
    report/a.csv
    report/b.csv
    report/old
    3 entries
    >>> table = opendalfs.ListingTable(fs.ls("report", detail=True))  # shown as HTML at the end of a cell
    >>> print(str(table).splitlines()[-1])
    2 files, 1.5 kB; 1 directory
    """

    def __init__(self, listing: Iterable[Info | str] | Mapping[str, Any], rows: int = 100) -> None:
        self._infos = _infos(listing)
        self._rows = rows

    def __str__(self) -> str:
        """Return the table as text, without characters that change a terminal or the direction of text."""
        header, cells = self._cells()
        lines = [tuple(map(markup.printable, line)) for line in (header, *cells)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join(
                text.rjust(width) if i == _SIZE else text.ljust(width)
                for i, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*texts, self._summary()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the table for a notebook."""
        header, cells = self._cells()
        return f"<div>{markup.table(cells, header, right={_SIZE})}<div>{self._summary()}</div></div>"

    def _cells(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return the header and the rows that are shown, without columns that would be empty."""
        cells = [_row(info) for info in self._infos[: self._rows]]
        last = max((i for line in cells for i, text in enumerate(line) if text), default=0)
        return _HEADER[: last + 1], [line[: last + 1] for line in cells]

    def _summary(self) -> str:
        """Return a line that counts all entries, and says how many are not shown."""
        total = len(self._infos)
        sizes = [info.get("size") or 0 for info in self._infos if info.get("type") == "file"]
        directories = sum(1 for info in self._infos if info.get("type") == "directory")
        parts = [f"{_count(len(sizes), 'file', 'files')}, {format_size(sum(sizes))}"] if sizes else []
        parts += [_count(directories, "directory", "directories")] if directories else []
        others = total - len(sizes) - directories
        parts += [_count(others, "entry", "entries")] if others or not parts else []
        cut = f"; the first {self._rows:,} are shown" if total > self._rows else ""
        return "; ".join(parts) + cut


def _infos(listing: Any) -> list[Info]:
    if isinstance(listing, Mapping):
        listing = [listing] if isinstance(listing.get("name"), str) else listing.values()
    infos = [] if isinstance(listing, str) else [{"name": i} if isinstance(i, str) else i for i in listing]
    if isinstance(listing, str) or not all(isinstance(info, Mapping) and "name" in info for info in infos):
        raise TypeError(
            "ListingTable needs a listing: pass fs.ls(path, detail=True), or that of find or glob"
        )
    return infos


def _row(info: Info) -> tuple[str, ...]:
    if info.get("type") == "directory":
        return f"{info['name']}/", "", ""
    size, when = info.get("size"), info.get("LastModified")
    return (
        info["name"],
        "" if size is None else format_size(size),
        f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if isinstance(when, datetime) else "",
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
