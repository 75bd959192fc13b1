"""Listings of large trees: begun as one recursive list, finished as many side by side.

A list comes page by page, and each page asks for what follows upon the last one, so that a million keys are
a thousand round trips in a row. When the first page is full, the names of its directories are asked for along
with the second. When that is full too, the directories that remain are cut into runs, and each run is listed
from its first directory on until the next run begins.

A run of one directory is listed by its name. For longer ones nothing is taken on trust: servers do not agree
on the order of keys. S3 sorts whole keys (``a!/x`` before ``a/x``), SeaweedFS directory by directory (``a/x``
before ``a!/x``). All that is relied upon is that the keys of a directory come together. A run that meets what
belongs to an earlier one, or a directory that its run has not met, tells that the cut was no good: then all
is listed anew, page by page, and so is it from then on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import pairwise
from typing import Final
from weakref import WeakSet

from opendal.types import Entry

from opendalfs.read.ranges import Range, split
from opendalfs.runtime.tasks import gather
from opendalfs.services import Home
from opendalfs.storage.connection import PAGE, Connection

__all__ = ["sweep"]

_RUNS: Final = 16
"""Lists of several directories side by side, at most; each may cost a page more than the tree has."""

_disorderly: WeakSet[Connection] = WeakSet()


class _Disorder(Exception):
    """The keys do not come in the order that a cut needs."""


async def sweep(connection: Connection, start: str) -> list[Entry]:
    """List everything whose key starts so; a large tree by many lists at a time, where the service can.

    Parameters
    ----------
    connection : Connection
        To a service that lists recursively.
    start : str
        Start of the keys: a directory with its slash, or part of a name in one; ``/`` for all.

    Returns
    -------
    list of opendal.types.Entry
        In no order, without repeats.
    """
    async with aclosing(connection.pages(start, recursive=True)) as pages:
        page = await anext(pages)
        entries = _by_path(page)
        cut = None
        if len(page) == PAGE and _may_cut(connection):
            ask = [partial(anext, pages, []), partial(connection.page, start)]
            page, names = await gather(_call, ask, 0)
            entries |= _by_path(page)
            cut = _Cut(connection, start, page[-1].path, names) if len(page) == PAGE else None
        if cut is None or not cut.runs:
            async for page in pages:
                entries |= _by_path(page)
            return [*entries.values()]
    try:
        return [*(entries | await cut.rest()).values()]
    except _Disorder:
        _disorderly.add(connection)
    return await connection.list(start, recursive=True) or []


def _may_cut(connection: Connection) -> bool:
    able = connection.can("list_with_start_after") and connection.service.home is Home.REMOTE
    return able and connection not in _disorderly


async def _call(ask: Callable[[], Awaitable[list[Entry]]]) -> list[Entry]:
    return await ask()


class _Cut:
    """The rest of a list of which two pages are here, in runs of directories.

    Parameters
    ----------
    connection, start :
        What is listed.
    last : str
        The key that the list has come to.
    names : sequence of opendal.types.Entry
        What lies directly in the directory; the first page of it.

    Attributes
    ----------
    runs : list of sequence of str
        About one for each page that is to come, if the directories are all alike; empty when so few come
        that it is not worth it.
    """

    def __init__(self, connection: Connection, start: str, last: str, names: Sequence[Entry]) -> None:
        self.connection = connection
        self.start = start
        self.last = last
        self.base = start[: start.rfind("/") + 1].lstrip("/")
        self.here = self.child(last)
        self.names = names
        self.whole = len(names) < PAGE
        folders = [child for entry in names if (child := self.child(entry.path))]
        at = folders.index(self.here) if self.here in folders else len(folders)
        rest = folders[at + 1 :]
        # A page of names may not be all, so then nothing tells how many pages come.
        pages = 2 * len(rest) // (at + 1) if self.whole else _RUNS
        # A list of one directory costs no page more.
        count = len(rest) if len(rest) <= 2 * min(pages, _RUNS) else min(pages, _RUNS)
        self.runs = _runs(rest, count) if len(rest) > 1 and pages > 1 else []
        self.owners = dict.fromkeys(folders[: at + 1], -1)
        self.owners |= {folder: i for i, run in enumerate(self.runs) for folder in run}
        self.met: set[str] = set()

    def child(self, path: str) -> str:
        """Give the directory, directly in the one that is listed, that a key is in; empty for none."""
        return path[len(self.base) : path.find("/", len(self.base)) + 1]

    async def rest(self) -> dict[str, Entry]:
        """List what follows.

        Raises
        ------
        _Disorder
            When the keys do not come in the order that the runs were made by.
        """
        # Of the files directly in the directory, those beyond the page of names are in the last run.
        found = _by_path(entry for entry in self.names if not self.child(entry.path))

        async def run(number: int) -> None:
            if number < 0:
                found.update(await self.folder(self.here, self.last))
            elif len(self.runs[number]) == 1 and (self.whole or number < len(self.runs) - 1):
                found.update(await self.folder(self.runs[number][0]))
            else:
                found.update(await self.run(number))

        await gather(run, range(-1, len(self.runs)), 0)
        for folders in self.runs:
            # One that holds nothing but its own marker is met by the run before.
            if any(f not in self.met and f"{self.base}{f}" not in found for f in folders):
                raise _Disorder
        return found

    async def folder(self, folder: str, after: str | None = None) -> dict[str, Entry]:
        """List one directory, which takes no order for granted."""
        self.met.add(folder)
        pages = self.connection.pages(self.base + folder, recursive=True, start_after=after)
        return _by_path([entry async for page in pages for entry in page])

    async def run(self, number: int) -> dict[str, Entry]:
        """List from the first directory of a run on until another run begins."""
        found: dict[str, Entry] = {}
        after = f"{self.base}{self.runs[number][0]}"
        pages = self.connection.pages(self.start, recursive=True, start_after=after)
        async with aclosing(pages):
            async for page in pages:
                found |= _by_path(page)
                children = dict.fromkeys(self.child(entry.path) for entry in page)
                owners = [self.owners[child] for child in children if child in self.owners]
                if any(after < before for before, after in pairwise([number, *owners])):
                    raise _Disorder
                self.met |= {child for child in children if self.owners.get(child) == number}
                if owners and owners[-1] > number:
                    break
        return found


def _by_path(entries: Iterable[Entry]) -> dict[str, Entry]:
    return {entry.path: entry for entry in entries}


def _runs(folders: Sequence[str], count: int) -> list[Sequence[str]]:
    """Cut a list of directories into at most so many runs of near equal length."""
    return [folders[r.start : r.stop] for r in split(Range(0, len(folders)), -(-len(folders) // count))]
