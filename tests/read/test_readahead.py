"""Sequential read-ahead: blocks, requests and memory, in threads and in coroutines."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opendalfs
from opendalfs.budget import Budget
from opendalfs.read import readahead
from opendalfs.read.ranges import Blocks, Range
from opendalfs.read.readahead import ReadAhead, Settings, read_blocks
from tests.waiting import eventually

FS = opendalfs.filesystem("memory")
DATA = bytes(range(256)) * 40
SETTINGS = Settings(first=500, largest=2_000, ahead=3)

ranges = st.builds(lambda start, size: Range(start, start + size), st.integers(0, 999), st.integers(1, 9_999))


def file(options: Settings = SETTINGS) -> ReadAhead:
    FS.pipe_file("ahead/data", DATA)
    return ReadAhead(FS.reader("ahead/data"), options)


def walked(blocks: Blocks) -> list[Range]:
    found = []
    offset = blocks.span.start
    while offset < blocks.span.stop:
        found.append(blocks.at(offset))
        offset = found[-1].stop
    return found


@given(ranges, st.integers(1, 700), st.integers(0, 5))
def test_blocks_double_up_to_the_largest_and_cover_the_range(span: Range, first: int, doublings: int) -> None:
    blocks = Blocks(span, first, first << doublings)
    found = walked(blocks)
    assert [r.start for r in found] == [span.start, *(r.stop for r in found[:-1])]
    assert found[-1].stop == span.stop
    assert [r.size for r in found[:-1]] == [first << min(i, doublings) for i in range(len(found) - 1)]
    assert all(blocks.at(offset) == r for r in found for offset in (r.start, r.stop - 1))


@given(ranges, st.integers(1, 700))
def test_even_blocks_are_as_few_and_as_equal_as_they_can_be(span: Range, part: int) -> None:
    found = walked(Blocks.even(span, part))
    assert len(found) <= -(-span.size // part)
    assert max(r.size for r in found) <= part
    assert len({r.size for r in found[:-1]}) <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.integers(0, len(DATA)), st.integers(0, 3_000)), max_size=15),
    st.sampled_from([0, 4_000]),
    st.sampled_from([0, 20_000]),
)
def test_reads_in_any_order_return_the_bytes_of_the_file(
    steps: list[tuple[int | None, int]], keep: int, whole: int
) -> None:
    ahead = file(Settings(first=500, largest=2_000, ahead=2, ahead_from=500, whole=whole, keep=keep))
    position = 0
    for jump, size in steps:
        position = position if jump is None else jump
        expected = DATA[position : position + size]
        assert bytes(ahead.read(position, size)) == expected
        if expected:
            held = ahead.held(position, len(expected))
            assert held is None or held == expected
        position += len(expected)
    ahead.close()


def test_the_first_read_requests_no_more_than_its_block() -> None:
    ahead = file()
    with opendalfs.trace() as trace:
        ahead.read(0, 100)
    assert trace.count("read") == 1
    assert trace.bytes == 500


def test_a_read_that_continues_requests_the_next_blocks() -> None:
    ahead = file()
    with opendalfs.trace() as trace:
        ahead.read(0, 100)
        ahead.read(100, 100)
        assert eventually(lambda: trace.count("read") == 4)
    assert sorted(r.offset for r in trace.records if r.operation == "read") == [0, 500, 1_500, 3_500]


def test_a_read_elsewhere_drops_what_was_requested() -> None:
    ahead = file()
    ahead.read(0, 100)
    ahead.read(100, 100)
    ahead.read(9_000, 100)
    window = ahead._window
    assert window is not None
    assert list(window._requests) == [7_500]


def test_a_block_is_kept_for_a_second_reading_only() -> None:
    ahead = file(Settings(first=500, largest=2_000, ahead=3, keep=len(DATA)))
    before = readahead.KEPT.held
    with opendalfs.trace() as trace:
        for expected in (len(DATA), 0):
            for offset in range(0, len(DATA), 100):
                ahead.read(offset, 100)
            assert readahead.KEPT.held - before == expected
    assert trace.bytes == len(DATA)


def test_without_memory_one_block_is_requested_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead, "BUDGET", Budget(0))
    ahead = file()
    with opendalfs.trace() as trace:
        for offset in range(0, len(DATA), 100):
            assert bytes(ahead.read(offset, 100)) == DATA[offset : offset + 100]
            assert readahead.BUDGET.held <= 2_000
    assert trace.bytes == len(DATA)
    assert readahead.BUDGET.held == 0


def test_the_memory_of_a_file_comes_back_when_it_is_closed_or_lost() -> None:
    before = readahead.BUDGET.held
    closed, lost = file(), file()
    for ahead in (closed, lost):
        ahead.read(0, 100)
        ahead.read(100, 100)
    assert readahead.BUDGET.held > before
    closed.close()
    del ahead, lost
    assert eventually(lambda: readahead.BUDGET.held == before)


class Fetches:
    """Fetches of `DATA` that count how many are in flight."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at = fails_at
        self.begun: list[Range] = []
        self.running = 0
        self.most = 0

    async def __call__(self, part: Range) -> bytes:
        self.begun.append(part)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.001)
        finally:
            self.running -= 1
        if part.start <= self.fails_at < part.stop:
            raise OSError("no such byte")
        return DATA[part.start : part.stop]


@pytest.mark.parametrize(("limit", "most"), [(1 << 20, 4), (0, 1), (2_500, 2)])
async def test_coroutines_read_ahead_as_far_as_the_budget_allows(limit: int, most: int) -> None:
    fetches, budget = Fetches(), Budget(limit)
    blocks = Blocks.even(Range(100, 10_000), 1_000)
    assert b"".join([data async for data in read_blocks(blocks, fetches, 3, budget)]) == DATA[100:10_000]
    assert (fetches.most, len(fetches.begun), budget.held) == (most, 10, 0)


async def test_an_error_of_a_block_comes_after_the_blocks_before_it() -> None:
    fetches, budget = Fetches(fails_at=2_500), Budget(1 << 20)
    got = []

    async def read() -> None:
        async for data in read_blocks(Blocks.even(Range(0, 10_000), 1_000), fetches, 3, budget):
            got.append(data)  # noqa: PERF401  # what came before the error counts

    with pytest.raises(OSError, match="no such byte"):
        await read()
    assert b"".join(got) == DATA[:2_000]
    assert (fetches.running, budget.held) == (0, 0)


async def test_a_reader_that_stops_leaves_nothing_in_flight() -> None:
    fetches, budget = Fetches(), Budget(1 << 20)
    async with aclosing(read_blocks(Blocks.even(Range(0, 10_000), 1_000), fetches, 3, budget)) as blocks:
        assert await anext(blocks) == DATA[:1_000]
    assert (fetches.running, budget.held) == (0, 0)
