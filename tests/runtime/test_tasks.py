"""Many coroutines at a time."""

from __future__ import annotations

import asyncio

import pytest

from opendalfs.runtime.tasks import gather


async def test_a_failed_gather_ends_only_when_its_calls_have() -> None:
    ended = []

    async def call(i: int) -> None:
        if i == 0:
            raise ValueError("the first")
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.01)
            ended.append(i)

    with pytest.raises(ValueError, match="the first"):
        await gather(call, range(4), 4)
    assert sorted(ended) == [1, 2, 3]
