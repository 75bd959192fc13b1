"""Files of coroutines: `open_async` reads, writes, creates, and publishes nothing on failure."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from opendalfs import UnsupportedError
from tests.fs.places import Boom, MiB, Place

# Coroutines


async def test_open_async_reads_and_writes(place: Place) -> None:
    fs = type(place.fs)(**{**place.fs.storage_options, "asynchronous": True})
    path = place.path("new")
    async with await fs.open_async(path, "wb") as file:
        assert await file.write(b"hello ") == 6
        await file.write(b"x" * 6 * MiB)
        assert file.tell() == 6 + 6 * MiB
    async with await fs.open_async(path) as file:
        assert file.size == 6 + 6 * MiB
        assert await file.read(6) == b"hello "
        assert file.seek(-3, 2) == 3 + 6 * MiB
        assert await file.read() == b"xxx"
        assert await file.read() == b""


async def test_open_async_publishes_nothing_on_an_exception_or_a_discard(place: Place) -> None:
    fs = type(place.fs)(**{**place.fs.storage_options, "asynchronous": True})
    with suppress(Boom):
        async with await fs.open_async(place.path("new"), "wb") as file:
            await file.write(b"x" * 6 * MiB)
            raise Boom
    file = await fs.open_async(place.path("new"), "xb")
    await file.write(b"x")
    await file.discard()
    await file.close()
    assert not await fs._exists(place.path("new"))


async def test_a_cancelled_write_leaves_nothing(place: Place) -> None:
    fs = type(place.fs)(**{**place.fs.storage_options, "asynchronous": True})

    written = asyncio.Event()

    async def write() -> None:
        async with await fs.open_async(place.path("new"), "wb") as file:
            while True:
                await file.write(b"x" * 6 * MiB)
                written.set()

    task = asyncio.ensure_future(write())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await fs._find(place.folder) == []


async def test_open_async_creates_atomically_and_refuses_what_it_cannot(place: Place) -> None:
    fs = type(place.fs)(**{**place.fs.storage_options, "asynchronous": True})
    async with await fs.open_async(place.path("new"), "xb") as file:
        await file.write(b"x")
    with pytest.raises(FileExistsError):
        await fs.open_async(place.path("new"), "xb")
    for mode in ("ab", "r+b", "r"):
        with pytest.raises(UnsupportedError, match="modes"):
            await fs.open_async(place.path("new"), mode)
    with pytest.raises(FileNotFoundError):
        await fs.open_async(place.path("nothing"))
