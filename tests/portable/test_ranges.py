"""The planner of ranges against a plain model: which bytes are requested, and which range receives them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opendalfs.read.plan import ReadPlan
from opendalfs.read.ranges import Fetch, Range, clamp, coalesce, plan_fetches, split

SIZE = 400
DATA = random.Random(1).randbytes(SIZE)

ends = st.none() | st.integers(-2 * SIZE, 2 * SIZE)
spans = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda ab: Range(min(ab), max(ab)))
many = st.lists(spans, max_size=25)
gaps = st.integers(0, 60)
parts = st.integers(1, 150)


def wanted_bytes(ranges: Sequence[Range]) -> set[int]:
    return {i for r in ranges for i in range(r.start, r.stop)}


@given(ends, ends, st.integers(0, SIZE))
def test_clamp_is_the_slice_of_the_bytes(start: int | None, stop: int | None, size: int) -> None:
    found = clamp(start, stop, size)
    assert DATA[:size][found.start : found.stop] == DATA[:size][start:stop]
    assert 0 <= found.start <= found.stop <= size


@given(many, gaps)
def test_coalesced_ranges_hold_their_members_and_are_more_than_a_gap_apart(
    ranges: list[Range], gap: int
) -> None:
    merged = coalesce(ranges, gap)
    for one, following in itertools.pairwise(merged):
        assert following.range.start - one.range.stop > gap
    for whole, members in merged:
        assert whole.start == min(ranges[i].start for i in members)
        assert whole.stop == max(ranges[i].stop for i in members)
    served = sorted(i for f in merged for i in f.members)
    assert served == [i for i, r in enumerate(ranges) if r.size]


@given(many, gaps)
def test_coalescing_fetches_no_hole_wider_than_the_gap(ranges: list[Range], gap: int) -> None:
    wanted = wanted_bytes(ranges)
    for whole, _ in coalesce(ranges, gap):
        hole = 0
        for i in range(whole.start, whole.stop):
            hole = 0 if i in wanted else hole + 1
            assert hole <= gap


@given(spans, parts)
def test_split_covers_the_range_in_parts_of_near_equal_size(whole: Range, part: int) -> None:
    cut = list(split(whole, part))
    assert [i for r in cut for i in range(r.start, r.stop)] == list(range(whole.start, whole.stop))
    sizes = [r.size for r in cut]
    assert len(cut) == -(-whole.size // part)
    assert all(0 < size <= part for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1


@given(many, gaps, parts)
@example([Range(0, 5), Range(50, 55)], 60, 10)
def test_a_plan_serves_every_wanted_byte_once_within_part_and_gap(
    ranges: list[Range], gap: int, part: int
) -> None:
    fetches = plan_fetches(ranges, gap=gap, part=part)
    for one, following in itertools.pairwise(fetches):
        assert one.range.stop <= following.range.start
    assert all(0 < f.range.size <= part for f in fetches)
    asked = wanted_bytes([f.range for f in fetches])
    assert wanted_bytes(ranges) <= asked
    for piece, members in fetches:
        overlapping = {i for i, r in enumerate(ranges) if r.start < piece.stop and r.stop > piece.start}
        assert set(members) == {i for i in overlapping if ranges[i].size}
        assert members, "a fetch that serves nobody"


@given(many, parts)
def test_without_a_gap_only_requested_bytes_are_fetched(ranges: list[Range], part: int) -> None:
    fetches = plan_fetches(ranges, gap=0, part=part)
    assert wanted_bytes([f.range for f in fetches]) == wanted_bytes(ranges)


@given(st.lists(st.tuples(ends, ends), max_size=25), gaps, parts, st.randoms(use_true_random=False))
def test_assembled_results_are_the_slices_whatever_order_parts_arrive_in(
    slices: list[tuple[int | None, int | None]], gap: int, part: int, order: random.Random
) -> None:
    wanted = [clamp(a, b, SIZE) for a, b in slices]
    fetches = plan_fetches(wanted, gap=gap, part=part)
    assembly = ReadPlan(wanted, fetches)
    for i in order.sample(range(len(fetches)), len(fetches)):
        piece = fetches[i].range
        assembly.put(i, DATA[piece.start : piece.stop])
    assert assembly.results() == [DATA[a:b] for a, b in slices]


def test_a_range_served_by_a_fetch_of_its_own_is_not_copied() -> None:
    wanted = [Range(3, 9)]
    assembly = ReadPlan(wanted, plan_fetches(wanted, gap=0, part=100))
    data = DATA[3:9]
    assembly.put(0, data)
    assert assembly.results()[0] is data


class Counted(Range):
    """A range that counts how often the planner looks at it."""

    looks: ClassVar[int] = 0

    def __getattribute__(self, name: str) -> object:
        Counted.looks += 1
        return super().__getattribute__(name)


def looks(make: Callable[[int], list[Range]], count: int, part: int) -> int:
    Counted.looks = 0
    assert plan_fetches(make(count), gap=10, part=part)
    return Counted.looks


def test_planning_is_linear_in_ranges_and_pieces() -> None:
    def small_and_near(count: int) -> list[Range]:
        return [Counted(i * 10, i * 10 + 5) for i in range(count)]

    few, many_more = looks(small_and_near, 500, 40), looks(small_and_near, 5000, 40)
    assert many_more < 15 * few


@pytest.mark.parametrize("ranges", [[], [Range(4, 4)], [Range(0, 0), Range(9, 9)]])
def test_empty_ranges_ask_for_nothing(ranges: list[Range]) -> None:
    fetches: list[Fetch] = plan_fetches(ranges, gap=10, part=10)
    assert fetches == []
    assert ReadPlan(ranges, fetches).results() == [b""] * len(ranges)
