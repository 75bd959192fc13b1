"""Listings and recursive removals: the calls to storage that send several requests."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing, suppress
from typing import Any, Final

from opendal import AsyncOperator
from opendal.types import Entry

from .call import Call
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

        A page that is not the first may have fewer entries than `PAGE` when further ones follow.

        Raises
        ------
        OSError
            When the server returns the same page again and again.
        """
        paging = Paging(self.service, self.name(key.strip("/")), options, PAGE)
        after: dict[str, str] = {}
        denied = False
        while True:
            again = False
            with Call(self, "list", key).in_task() as call:
                call.denied = denied
                try:
                    async with aclosing(_split(call, paging, key, {**options, **after})) as pages:
                        async for page in pages:
                            fresh = paging.unseen(page)
                            if fresh or not paging.known:
                                call.denied = denied = False
                                yield fresh
                except Exception as exc:
                    again, denied = bool(call.retry_reason(exc)), call.denied
                    if not again:
                        raise
            last = paging.last
            has_new = paging.begin_again()
            after = {}
            if again:
                # With new credentials; without a known key all of them are listed again.
                last = paging.complete_until
            elif last is None or not self.capability.list_with_start_after or not has_new:
                return
            # After a full page: the response for the next one may have been an error of status 200, which
            # OpenDAL takes for the end.
            if last and self.capability.list_with_start_after:
                after = {"start_after": last}

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
            return await call.run_async(_holds_entry, key)

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
                if not call.retry_reason(exc):
                    raise
                await self._remove(call, prefix)

    async def _remove(self, call: Call, prefix: str) -> None:
        self.write_times.forget_below(prefix)
        operator = await call.stateful_operator()
        await call.request_async(operator.remove_all, prefix or "/")
        call.count(0, requests=2)


async def _holds_entry(operator: AsyncOperator, key: str) -> bool:
    """Whether a list has any entry."""
    async for _ in await operator.list(key, limit=1):
        return True
    return False


async def _split(
    call: Call, paging: Paging, key: str, options: dict[str, Any]
) -> AsyncGenerator[list[Entry], None]:
    """List a page at a time."""
    operator = await call.stateful_operator()
    lister = await call.step_async(operator.list, key, **options)
    while True:
        page = await call.request_async(_next_page, lister, paging)
        if len(page) < paging.size:
            break
        call.count(0, requests=len(paging.pages))
        yield page
    if page or not paging.pages:
        paging.ended = True
        call.count(0, requests=len(paging.pages) + 1)
        yield page


async def _next_page(lister: AsyncIterable[Entry], paging: Paging) -> list[Entry]:
    """Return the next page; one with fewer entries than `paging.size` is the last."""
    page: list[Entry] = []
    async for entry in lister:
        page.append(entry)
        if len(page) == paging.next_check and paging.check(page):
            break
    return page
