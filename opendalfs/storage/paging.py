"""Pages of a listing: detects a server that repeats keys, and a list that ends after a full page."""

from __future__ import annotations

import errno
from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import Any, Final

from opendal.types import Entry

from opendalfs.errors import redact
from opendalfs.services import Form, Service

__all__ = ["PAGE", "Paging"]

PAGE: Final = 1000
"""Keys on a page of a listing: the maximum of S3, and the default of most other services."""

_FIRST_CHECK: Final = 64
"""Entries after which the first page is checked before it is full: a server may repeat a single key."""

_MIN_DISTINCT_RATIO: Final = 4
"""If fewer than one in this many entries is distinct, the server repeats keys."""


class Paging:
    """Splits a list into pages, and keeps them.

    OpenDAL shows neither the end of a server's page nor the token of the next one. The list of a server that
    returns the same token each time would never end, and a server that returns an error of status 200 instead
    of a later page would seem to have no more keys.

    Parameters
    ----------
    service : Service
        The service. Services with containers never list a key twice; others may.
    name : str
        The listed path, for the error.
    options : Mapping
        OpenDAL's options of the list.
    size : int
        Entries of a full page.
    """

    def __init__(self, service: Service, name: str, options: Mapping[str, Any], size: int) -> None:
        self.distinct = service.form in (Form.CONTAINER, Form.HUB) and not options.get("versions")
        self.size = size
        self.pages: list[list[Entry]] = []
        self.ended = False
        """Whether the last page was not full, so that there are no more."""

        self.known: set[Hashable] = set()
        """What is on the pages of earlier lists of the same keys: keys, or keys with their versions."""

        self.complete_until: str | None = "" if self.distinct else None
        """A key up to which earlier lists are complete; None if unknown, because the keys are in no order."""

        self.next_check = min(_FIRST_CHECK, size) if self.distinct else size
        self._name = name
        self._versions = bool(options.get("versions"))

    @property
    def last(self) -> str | None:
        """The last listed key, when the list ended on a full page and can be continued after it."""
        return self.pages[-1][-1].path if self.pages and self.distinct and not self.ended else None

    def begin_again(self) -> bool:
        """Prepare for another list of the same keys; return whether this one has contained new ones."""
        before = len(self.known)
        if self.complete_until is not None:
            # OpenDAL returns the directories on a page of the server before its files.
            files = [entry.path for page in self.pages for entry in page if not entry.path.endswith("/")]
            keys = [self.complete_until, *files]
            self.complete_until = keys[-1] if all(one < other for one, other in pairwise(keys)) else None
        self.known.update(self._identity(entry) for page in self.pages for entry in page)
        self.pages = []
        return len(self.known) > before

    def check(self, page: list[Entry]) -> bool:
        """Check a page that has grown to `next_check` entries; return whether it is full.

        Raises
        ------
        OSError
            When the server repeats keys.
        """
        full = len(page) == self.size
        if self.distinct and not self._has_new_keys(page):
            raise OSError(
                errno.EIO,
                "The server lists the same keys again and again: its listing has no end",
                redact(self._name),
            )
        if full:
            self.pages.append(page)
        self.next_check = self.size
        return full

    def _has_new_keys(self, page: list[Entry]) -> bool:
        before = self.pages[-1] if self.pages else None
        # Most servers list in order, so that the last key is enough.
        if before is not None and page[-1].path > before[-1].path:
            return True
        paths = {entry.path for entry in page}
        if before is None:
            return len(paths) * _MIN_DISTINCT_RATIO >= len(page)
        return not paths <= {entry.path for entry in before}

    def unseen(self, page: list[Entry]) -> list[Entry]:
        """Return the entries of a page that are on no page of an earlier list."""
        if not self.known:
            return page
        return [entry for entry in page if self._identity(entry) not in self.known]

    def _identity(self, entry: Entry) -> Hashable:
        return (entry.path, entry.metadata.version) if self._versions else entry.path
