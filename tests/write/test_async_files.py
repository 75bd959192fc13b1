"""Files of coroutines publish by the same rule as blocking files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from typing import Any

import pytest

from tests.write.places import LARGE, Boom, Place

# Coroutines


async def async_ends_well(file: Any) -> None:
    async with file:
        await file.write(bytes(LARGE))


async def async_fails(file: Any) -> None:
    async with file:
        await file.write(bytes(LARGE))
        raise Boom


async def async_is_cancelled(file: Any) -> None:
    async with file:
        await file.write(bytes(LARGE))
        raise asyncio.CancelledError


async def async_close_at_the_end(file: Any) -> None:
    await file.write(bytes(LARGE))
    with suppress(Boom):
        raise Boom
    await file.close()


async def async_close_in_except(file: Any) -> None:
    try:
        await file.write(bytes(LARGE))
        raise Boom
    except Boom:
        await file.close()


async def async_close_in_finally(file: Any) -> None:
    try:
        await file.write(bytes(LARGE))
        raise Boom
    finally:
        await file.close()


async def async_cancelled_and_closed(file: Any) -> None:
    try:
        await file.write(bytes(LARGE))
        raise asyncio.CancelledError
    finally:
        await file.close()


async def async_stack_fails(file: Any) -> None:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(file.close)
        await file.write(bytes(LARGE))
        raise Boom


async def async_generator_ends(file: Any) -> None:
    async def consumer() -> AsyncIterator[None]:
        async with file:
            await file.write(bytes(LARGE))
            while True:
                yield

    running: Any = consumer()
    await anext(running)
    await running.aclose()


async def async_block_in_a_handler(file: Any) -> None:
    try:
        raise Boom
    except Boom:
        async with file:
            await file.write(bytes(LARGE))


async def async_manager_fails(file: Any) -> None:
    @asynccontextmanager
    async def manager() -> AsyncIterator[Any]:
        async with file:
            yield file

    async with manager() as opened:
        await opened.write(bytes(LARGE))
        raise Boom


ASYNC: list[tuple[Callable[[Any], Awaitable[None]], type[BaseException] | None]] = [
    (async_ends_well, None),
    (async_close_at_the_end, None),
    (async_block_in_a_handler, None),
    (async_fails, Boom),
    (async_manager_fails, Boom),
    (async_stack_fails, Boom),
    (async_is_cancelled, asyncio.CancelledError),
    (async_cancelled_and_closed, asyncio.CancelledError),
    (async_close_in_except, OSError),
    (async_close_in_finally, OSError),
    (async_generator_ends, OSError),
]


@pytest.mark.parametrize(("block", "error"), ASYNC)
async def test_a_file_of_coroutines_publishes_by_the_same_rule(
    place: Place, block: Callable[[Any], Awaitable[None]], error: type[BaseException] | None
) -> None:
    fs = type(place.fs)(**place.options, asynchronous=True)
    file = await fs.open_async(place.path, "wb")
    if error is None:
        await block(file)
    else:
        with pytest.raises(error) as info:
            await block(file)
        assert type(info.value) is error
    assert await fs._exists(place.path, refresh=True) == (error is None)
    await file.close()
    assert await fs._exists(place.path, refresh=True) == (error is None)
