"""Listings as pages: what a server repeats is noticed, and so is an end that comes after a full page."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opendal.types import Entry

from opendalfs.errors import redact
from opendalfs.services import Form, Service

__all__ = ["PAGE", "Paging"]

PAGE: Final = 1000
"""Keys on a page of a listing: what S3 gives at most, and most others by default."""

_EARLY: Final = 64
"""Entries after which the first page is looked at before it is full: a server may repeat a single key."""

_FEW: Final = 4
"""With fewer than one in so many entries distinct, a server repeats itself."""


class Paging:
    """Cuts one list into pages and remembers them.

    OpenDAL does not show where a server's pages end, nor the token of the next one. A server that answers the
    same token again and again would be listed for ever, and one that answers a later page with an error of
    status 200 would seem to have no more keys.

    Parameters
    ----------
    service : Service
        What is listed. Services with containers never list a key twice; others may.
    name : str
        The path that is listed, for the error.
    options : Mapping
        OpenDAL's options of the list.
    size : int
        Entries of a full page.
    """

    def __init__(self, service: Service, name: str, options: Mapping[str, Any], size: int) -> None:
        self.distinct = service.form in (Form.CONTAINER, Form.HUB) and not options.get("versions")
        self.size = size
        self.pages: list[list[Entry]] = []
        self.mark = min(_EARLY, size) if self.distinct else size
        self._name = name
        self._paths: set[str] = set()

    @property
    def last(self) -> str | None:
        """The last key listed, when the list ended on a full page and can be taken up after it."""
        return self.pages[-1][-1].path if self.pages and self.distinct else None

    def fill(self, page: list[Entry]) -> bool:
        """Look at a page that has grown to `mark` entries; return whether it is full.

        Raises
        ------
        OSError
            When the server repeats what it listed before.
        """
        full = len(page) == self.size
        if self.distinct and not self._brings_new(page):
            raise OSError(
                errno.EIO,
                "The server lists the same keys again and again: its listing has no end",
                redact(self._name),
            )
        if full:
            self.pages.append(page)
        self.mark = self.size
        return full

    def _brings_new(self, page: list[Entry]) -> bool:
        before = self.pages[-1] if self.pages else None
        # Most servers list in order, so that the last key tells.
        if before is not None and page[-1].path > before[-1].path:
            return True
        paths = {entry.path for entry in page}
        if before is None:
            return len(paths) * _FEW >= len(page)
        return not paths <= {entry.path for entry in before}

    def unseen(self, page: Sequence[Entry]) -> list[Entry]:
        """Return the entries of a page that were not listed before."""
        if not self._paths:
            self._paths = {entry.path for kept in self.pages for entry in kept}
        fresh = [entry for entry in page if entry.path not in self._paths]
        self._paths.update(entry.path for entry in fresh)
        return fresh
