"""Listings and recursive removals: the calls to storage that send several requests."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

from opendal.types import Entry

from .call import Call
from .lister import Lister, holds_entry
from .operator_pair import OperatorPair
from .paging import PAGE, Paging

__all__ = ["ListingCalls"]

_NOT_REMOVED: Final = (
    "The service reported a success, but objects are left: list the directory, then remove it again"
)


class ListingCalls(OperatorPair):
    """The part of `Connection` that lists, and removes what it has listed."""

    async def pages(self, key: str, **options: Any) -> AsyncGenerator[list[Entry], None]:
        """List below a key, a page at a time; a page that is not consumed is not fetched.

        Raises
        ------
        OSError
            When the server returns the same page again and again.
        """
        async with aclosing(self._pages(key, options)) as pages:
            async for page in pages:
                yield page

    async def _pages(
        self, key: str, options: dict[str, Any], may_renew: bool = True
    ) -> AsyncGenerator[list[Entry], None]:
        paging = Paging(self.service, self.name(key.strip("/")), options, PAGE)
        can_continue = self.capability.list_with_start_after
        renews = False
        with Call(self, "list", key).in_task() as call:
            try:
                async with aclosing(_split(call, paging, key, options)) as pages:
                    async for page in pages:
                        yield page
            except Exception as exc:
                renews = bool(call.renews(exc)) and (can_continue if paging.pages else may_renew)
                if not renews:
                    raise
        if not renews and (paging.ended or paging.last is None or not can_continue):
            return
        # Credentials have expired, or the response for the next page may have been an error of status 200,
        # which OpenDAL takes for the end.
        after = {} if paging.last is None else {"start_after": paging.last}
        may_renew = bool(paging.pages) or not renews
        async with aclosing(self._pages(key, {**options, **after}, may_renew)) as rest:
            async for page in rest:
                fresh = paging.unseen(page)
                if not fresh:
                    return
                yield fresh

    async def page(self, key: str, **options: Any) -> list[Entry]:
        """List the first page below a key; a page of less than `PAGE` entries is the whole listing."""
        async with aclosing(self.pages(key, **options)) as pages:
            return await anext(pages)

    async def list(self, key: str, most: int | None = None, **options: Any) -> list[Entry] | None:
        """List all pages below a key; None, not a partial list, when there are more than `most` entries."""
        entries: list[Entry] = []
        async with aclosing(self.pages(key, **options)) as pages:
            async for page in pages:
                entries += page
                if most is not None and len(entries) > most:
                    return None
        return entries

    async def holds_any(self, key: str) -> bool:
        """Whether a directory or container holds anything; raises when the container is missing."""
        with Call(self, "list", key).in_task() as call:
            return await call.run_async(holds_entry, key)

    async def remove_all(self, prefix: str) -> None:
        """Delete everything below a prefix, which must end in ``/`` or be empty."""
        if prefix and not prefix.endswith("/"):
            raise ValueError(
                f"the prefix {prefix!r} must end in '/': keys beside the directory would be deleted too"
            )
        left: str | None = None
        while True:
            failure: OSError | None = None
            try:
                await self._remove_all(prefix)
            except TimeoutError as exc:
                # A large tree takes longer than one call may.
                failure = exc
            if failure is None and (self.limit is None or not self.can("list_with_recursive")):
                return
            # OpenDAL takes a DeleteObjects that fails with status 200 for a success. Continue as long as keys
            # disappear.
            before, left = left, await self._first(prefix)
            if left is None and failure is None:
                return
            if left is None or left == before:
                raise failure or OSError(errno.EIO, _NOT_REMOVED, self.name(prefix))

    async def _first(self, prefix: str) -> str | None:
        """Return the first key below a prefix; None if there is none or the server does not answer soon."""
        with suppress(OSError):
            async with asyncio.timeout(self.tuning.timeout / 10):
                page = await self.page(prefix or "/", recursive=True)
                return page[0].path if page else None
        return None

    async def _remove_all(self, prefix: str) -> None:
        """Have OpenDAL remove everything, and once more if credentials have expired."""
        with Call(self, "delete", prefix).in_task() as call:
            try:
                await self._remove(call, prefix)
            except Exception as exc:
                if not call.renews(exc):
                    raise
                await self._remove(call, prefix)

    async def _remove(self, call: Call, prefix: str) -> None:
        self.write_times.forget_below(prefix)
        operator = await call.stateful_operator()
        await call.request_async(operator.remove_all, prefix or "/")
        call.count(0, requests=2)


async def _split(
    call: Call, paging: Paging, key: str, options: dict[str, Any]
) -> AsyncGenerator[list[Entry], None]:
    """List a page at a time."""
    lister = Lister(call.operators, key, options, paging)
    while True:
        if lister.repeatable:
            page = await call.run_async(lister.page)
        else:
            page = await call.request_async(lister.page, await call.stateful_operator())
        if len(page) < paging.size:
            break
        call.count(0, requests=len(paging.pages))
        yield page
        call.begin_again()
    if page or not paging.pages:
        paging.ended = True
        call.count(0, requests=len(paging.pages) + 1)
        yield page
