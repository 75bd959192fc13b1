"""Listings of large trees: started as one recursive list, finished as many lists at the same time.

A list comes page by page, and each page's request needs the last key of the page before, so that a million
keys take a thousand round trips one after the other. When the first page is full, the names of its
directories are requested together with the second. When that is full too, the remaining directories are split
into runs, and each run is listed from its first directory until the next run begins.

A run of one directory is listed by its name. For longer runs the order of keys matters, and servers do not
agree on it. S3 sorts whole keys (``a!/x`` before ``a/x``), SeaweedFS directory by directory (``a/x`` before
``a!/x``). The only assumption is that the keys of a directory come together. A run that meets a key of an
earlier run, or a directory that its own run has not met, shows that the split was wrong: then everything is
listed again, page by page, and so are all later listings of this connection.
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
from opendalfs.services import Locality
from opendalfs.storage.connection import PAGE, Connection

__all__ = ["list_parallel"]

_MAX_RUNS: Final = 16
"""Maximum number of lists of several directories in flight; each may cost a page more than the tree has."""

_unordered: WeakSet[Connection] = WeakSet()


class _WrongOrderError(Exception):
    """The keys do not come in the order that a split needs."""


async def list_parallel(connection: Connection, start: str) -> list[Entry]:
    """List all keys with a prefix; a large tree with many lists in flight, where the service allows that.

    Parameters
    ----------
    connection : Connection
        To a service that lists recursively.
    start : str
        The prefix: a directory with its slash, or also a part of a name in it; ``/`` for all keys.

    Returns
    -------
    list of opendal.types.Entry
        In no order, without duplicates.
    """
    async with aclosing(connection.pages(start, recursive=True)) as pages:
        page = await anext(pages)
        entries = _by_path(page)
        tree_split = None
        if len(page) == PAGE and _may_split(connection):
            requests = [partial(anext, pages, []), partial(connection.page, start)]
            page, names = await gather(_call, requests, 0)
            entries |= _by_path(page)
            tree_split = _Split(connection, start, page[-1].path, names) if len(page) == PAGE else None
        if tree_split is None or not tree_split.runs:
            async for page in pages:
                entries |= _by_path(page)
            return [*entries.values()]
    try:
        return [*(entries | await tree_split.list_rest()).values()]
    except _WrongOrderError:
        _unordered.add(connection)
    return await connection.list(start, recursive=True) or []


def _may_split(connection: Connection) -> bool:
    able = connection.can("list_with_start_after") and connection.service.locality is Locality.REMOTE
    return able and connection not in _unordered


async def _call(request: Callable[[], Awaitable[list[Entry]]]) -> list[Entry]:
    return await request()


class _Split:
    """The rest of a list after two pages, split into runs of directories.

    Parameters
    ----------
    connection, start :
        As for `list_parallel`.
    last : str
        The last key of the two pages.
    names : sequence of opendal.types.Entry
        The first page of what is directly in the directory.

    Attributes
    ----------
    runs : list of sequence of str
        About one for each page that remains, if all directories are of the same size; empty when too few
        pages remain.
    """

    def __init__(self, connection: Connection, start: str, last: str, names: Sequence[Entry]) -> None:
        self.connection = connection
        self.start = start
        self.last = last
        self.base = start[: start.rfind("/") + 1].lstrip("/")
        self.current = self.child(last)
        self.names = names
        self.has_all_names = len(names) < PAGE
        folders = [child for entry in names if (child := self.child(entry.path))]
        at = folders.index(self.current) if self.current in folders else len(folders)
        rest = folders[at + 1 :]
        # When there are more names than a page, the number of remaining pages is unknown.
        pages = 2 * len(rest) // (at + 1) if self.has_all_names else _MAX_RUNS
        # A list of one directory costs no additional page.
        count = len(rest) if len(rest) <= 2 * min(pages, _MAX_RUNS) else min(pages, _MAX_RUNS)
        self.runs = _runs(rest, count) if len(rest) > 1 and pages > 1 else []
        self.owners = dict.fromkeys(folders[: at + 1], -1)
        self.owners |= {folder: i for i, run in enumerate(self.runs) for folder in run}
        self.met: set[str] = set()

    def child(self, path: str) -> str:
        """Return the subdirectory of the listed directory that holds a key; empty for none."""
        return path[len(self.base) : path.find("/", len(self.base)) + 1]

    async def list_rest(self) -> dict[str, Entry]:
        """List what follows the two pages.

        Raises
        ------
        _WrongOrderError
            When the keys do not come in the order of the runs.
        """
        # Of the files directly in the directory, those beyond the page of names are in the last run.
        found = _by_path(entry for entry in self.names if not self.child(entry.path))

        async def run(number: int) -> None:
            if number < 0:
                found.update(await self.list_folder(self.current, self.last))
            elif len(self.runs[number]) == 1 and (self.has_all_names or number < len(self.runs) - 1):
                found.update(await self.list_folder(self.runs[number][0]))
            else:
                found.update(await self.list_run(number))

        await gather(run, range(-1, len(self.runs)), 0)
        for folders in self.runs:
            # The run before meets a directory that holds only its own marker.
            if any(f not in self.met and f"{self.base}{f}" not in found for f in folders):
                raise _WrongOrderError
        return found

    async def list_folder(self, folder: str, after: str | None = None) -> dict[str, Entry]:
        """List one directory, which needs no order."""
        self.met.add(folder)
        pages = self.connection.pages(self.base + folder, recursive=True, start_after=after)
        return _by_path([entry async for page in pages for entry in page])

    async def list_run(self, number: int) -> dict[str, Entry]:
        """List from the first directory of a run until another run begins."""
        found: dict[str, Entry] = {}
        after = f"{self.base}{self.runs[number][0]}"
        pages = self.connection.pages(self.start, recursive=True, start_after=after)
        async with aclosing(pages):
            async for page in pages:
                found |= _by_path(page)
                children = dict.fromkeys(self.child(entry.path) for entry in page)
                owners = [self.owners[child] for child in children if child in self.owners]
                if any(after < before for before, after in pairwise([number, *owners])):
                    raise _WrongOrderError
                self.met |= {child for child in children if self.owners.get(child) == number}
                if owners and owners[-1] > number:
                    break
        return found


def _by_path(entries: Iterable[Entry]) -> dict[str, Entry]:
    return {entry.path: entry for entry in entries}


def _runs(folders: Sequence[str], count: int) -> list[Sequence[str]]:
    """Split a list of directories into at most `count` runs of nearly equal length."""
    return [folders[r.start : r.stop] for r in split(Range(0, len(folders)), -(-len(folders) // count))]
