"""Pages of a list that can be requested again after an error.

OpenDAL's lister ends after an error: its next step is the end of the list, without another error. So a list
whose page has failed is opened again, and continues after the last key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Mapping
from itertools import pairwise
from typing import Any

from opendal import AsyncOperator
from opendal.exceptions import Unexpected
from opendal.types import Entry

from .operator_pair import OperatorPair
from .paging import Paging
from .retry import ATTEMPTS

__all__ = ["Lister", "holds_entry"]


class Lister:
    """One list, page by page.

    Parameters
    ----------
    operators : OperatorPair
        The service.
    key : str
        What is listed.
    options : Mapping
        OpenDAL's options of the list.
    paging : Paging
        Splits the list into pages, and keeps them.

    Attributes
    ----------
    repeatable : bool
        Whether `page` may be called again after an error. If not, OpenDAL's RetryLayer repeats its requests.
    """

    def __init__(self, operators: OperatorPair, key: str, options: Mapping[str, Any], paging: Paging) -> None:
        self.repeatable = paging.distinct and operators.can("list_with_start_after")
        self._operators = operators
        self._key = key
        self._options = options
        self._paging = paging
        self._lister: AsyncIterable[Entry] | None = None
        self._known: set[str] = set()

    async def page(self, operator: AsyncOperator) -> list[Entry]:
        """Return the next page; one with fewer entries than `paging.size` is the last.

        Parameters
        ----------
        operator : AsyncOperator
            Opens the list at its first page and after an error: one with retries if this is not `repeatable`.

        Raises
        ------
        OSError
            When the server repeats keys.
        """
        if not self.repeatable:
            return await self._page(operator)
        # OpenDAL's TimeoutLayer gives a page the time of a large body, `io_timeout`.
        try:
            async with asyncio.timeout(self._operators.tuning.timeout / ATTEMPTS):
                return await self._page(operator)
        except TimeoutError:
            raise Unexpected("Unexpected (temporary) at list => operation timeout") from None

    async def _page(self, operator: AsyncOperator) -> list[Entry]:
        lister = self._lister or await self._open(operator)
        self._lister = None
        page: list[Entry] = []
        async for entry in lister:
            if entry.path in self._known:
                continue
            page.append(entry)
            if len(page) == self._paging.next_check and self._paging.check(page):
                break
        self._lister = lister
        return page

    async def _open(self, operator: AsyncOperator) -> AsyncIterable[Entry]:
        """Open the list after the entries that earlier pages contain."""
        options = self._options
        paths = [entry.path for page in self._paging.pages for entry in page]
        # A directory is listed once more after its name, for the keys in it.
        self._known = set(paths)
        if any(before >= after for before, after in pairwise(paths)):
            # Keys in another order, as those of SeaweedFS and of directory buckets of S3: it is unknown what
            # comes after the last one. So everything is listed again, and OpenDAL repeats what fails.
            return await self._operators.stateful_operator.list(self._key, **options)
        if paths:
            options = {**options, "start_after": paths[-1]}
        return await operator.list(self._key, **options)


async def holds_entry(operator: AsyncOperator, key: str) -> bool:
    """Whether a list has any entry."""
    async for _ in await operator.list(key, limit=1):
        return True
    return False
