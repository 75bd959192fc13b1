"""The parts of a scan by themselves: the block store, the predictor and the scheduler."""

from __future__ import annotations

import io
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opendalfs.budget import Budget, Reservation
from opendalfs.read.plan import RequestSizes
from opendalfs.read.ranges import Range
from opendalfs_arrow.blocks import Block, BlockStore
from opendalfs_arrow.call_hints import CallHint
from opendalfs_arrow.column_history import ColumnHistory
from opendalfs_arrow.footer import Footer
from opendalfs_arrow.predictor import ColumnPredictor
from opendalfs_arrow.scheduler import IN_FLIGHT, RequestScheduler
from tests.integrations.arrow.parquet import written
from tests.waiting import eventually

GROUPS, COLUMNS = 16, ["a", "b", "c", "d"]
SIZES = RequestSizes(gap=1_000, part=8 << 20)


@pytest.fixture(scope="module")
def footer() -> Footer:
    """Return the footer of 16 row groups whose chunks are too large to be fetched beyond the window."""
    rows = 132_000
    table = pa.table({name: pa.array(range(i, i + rows * GROUPS)) for i, name in enumerate(COLUMNS)})
    data = written(table, row_group_size=rows, compression="none", use_dictionary=False)
    return Footer(pq.read_metadata(io.BytesIO(data)))


def chunk(footer: Footer, group: int, name: str) -> Range:
    return footer.chunks(group)[COLUMNS.index(name)].range


def named(footer: Footer, plans: list[list[Range]]) -> list[tuple[int, str]]:
    """Return the row group and column of each predicted range."""
    chunks = {c.range: (c.group, COLUMNS[c.column]) for g in range(GROUPS) for c in footer.chunks(g)}
    return [chunks[r] for plan in plans for r in plan]


class TestPredictor:
    def test_each_row_group_read_in_order_doubles_the_window(self, footer: Footer) -> None:
        predictor = ColumnPredictor(ColumnHistory())
        ahead = [named(footer, predictor.after_read(footer, chunk(footer, g, "b"))) for g in range(4)]
        assert [len(plan) for plan in ahead] == [2, 2, 3, 5]
        # The first is the chunk that is read itself.
        assert [group for plan in ahead for group, _ in plan] == list(range(12))
        assert predictor.after_read(footer, chunk(footer, 3, "b")) == []

    def test_a_column_is_predicted_once_it_was_read(self, footer: Footer) -> None:
        predictor = ColumnPredictor(ColumnHistory())
        predictor.after_read(footer, chunk(footer, 0, "b"))
        assert named(footer, predictor.after_read(footer, chunk(footer, 0, "d"))) == [(1, "d")]

    def test_skipped_row_groups_keep_the_window_at_one(self, footer: Footer) -> None:
        predictor = ColumnPredictor(ColumnHistory())
        for group in (0, 5, 10):
            plans = predictor.after_read(footer, chunk(footer, group, "a"))
            assert (group + 1, "a") in named(footer, plans)
            assert max(g for g, _ in named(footer, plans)) == group + 1

    def test_the_columns_of_the_last_read_are_predicted_at_once(self, footer: Footer) -> None:
        history = ColumnHistory()
        first = ColumnPredictor(history, "folder")
        for name in ("a", "c"):
            first.after_read(footer, chunk(footer, 0, name))
        first.save(footer)
        second = ColumnPredictor(history, "folder")
        assert (0, "c") in named(footer, second.after_read(footer, chunk(footer, 0, "a")))
        other = ColumnPredictor(history, "another")
        assert (0, "c") not in named(footer, other.after_read(footer, chunk(footer, 0, "a")))

    def test_a_call_without_filters_needs_its_columns_of_all_row_groups(self, footer: Footer) -> None:
        predictor = ColumnPredictor(ColumnHistory(), call_hint=CallHint(("b", "d"), None))
        expected = [(g, name) for g in range(GROUPS) for name in ("b", "d")]
        assert named(footer, predictor.before_first_read(footer)) == expected
        assert named(footer, predictor.after_read(footer, chunk(footer, 0, "b"))) == []

    def test_a_call_with_a_filter_on_rows_needs_nothing_before_the_first_read(self, footer: Footer) -> None:
        predictor = ColumnPredictor(ColumnHistory(), call_hint=CallHint(("b",), [("d", ">", 5)]))
        assert predictor.before_first_read(footer) == []
        assert (4, "d") in named(footer, predictor.after_read(footer, chunk(footer, 4, "b")))

    def test_named_columns_are_needed_of_the_first_row_group(self, footer: Footer) -> None:
        predictor = ColumnPredictor(ColumnHistory(), columns=["a", "d"])
        assert named(footer, predictor.before_first_read(footer)) == [(0, "a"), (0, "d")]

    def test_the_offset_passed_stays_some_row_groups_behind(self, footer: Footer) -> None:
        predictor = ColumnPredictor(ColumnHistory())
        for group in range(8):
            predictor.after_read(footer, chunk(footer, group, "a"))
        assert predictor.passed == chunk(footer, 4, "a").start


@pytest.fixture
def store() -> BlockStore:
    return BlockStore(Reservation(Budget(1_000)), RequestSizes(gap=10, part=100))


def ranges(found: list[Block]) -> list[tuple[int, int]]:
    return [(block.range.start, block.range.stop) for block in found]


class TestBlockStore:
    def test_near_ranges_are_one_block_and_large_ones_several(self, store: BlockStore) -> None:
        added = store.add([Range(0, 20), Range(25, 40), Range(60, 260)])
        assert ranges(added) == [(0, 40), (60, 160), (160, 260)]
        assert added[0].unread == [Range(0, 20), Range(25, 40)]

    def test_blocks_do_not_overlap(self, store: BlockStore) -> None:
        store.add([Range(50, 70)])
        assert ranges(store.add([Range(40, 90)])) == [(40, 50), (70, 90)]
        assert ranges(store.cover(Range(30, 100))) == [(30, 40), (40, 50), (50, 70), (70, 90), (90, 100)]
        assert store.gaps(Range(0, 120)) == [Range(0, 30), Range(100, 120)]

    def test_a_block_is_removed_when_each_who_expects_it_has_read_it(self, store: BlockStore) -> None:
        [block] = store.add([Range(0, 20)])
        store.add([Range(10, 20)])
        store.mark_read(block, Range(0, 12))
        assert store.touching(Range(0, 20)) == [block]
        store.mark_read(block, Range(12, 20))
        assert store.touching(Range(0, 20)) == []


class Source:
    """A file of zeros whose reads wait until they are let go."""

    def __init__(self) -> None:
        self.asked: list[Range] = []
        self.go = threading.Event()

    def fetch(self, part: Range) -> bytes:
        self.asked.append(part)
        assert self.go.wait(30)
        return bytes(part.size)


class TestScheduler:
    def test_what_a_read_needs_is_begun_whatever_the_budget_holds(self) -> None:
        source, budget = Source(), Budget(0)
        requests = RequestScheduler(source.fetch, Reservation(budget), SIZES)
        source.go.set()
        [block] = requests.require(Range(0, 50))
        assert bytes(requests.take(block, Range(10, 20))) == bytes(10)
        assert budget.held == 50
        requests.close()
        assert budget.held == 0

    @pytest.mark.parametrize(("is_open", "begun"), [(True, 1), (False, 0)])
    def test_without_room_an_open_file_has_one_request_in_flight(self, is_open: bool, begun: int) -> None:
        source = Source()
        requests = RequestScheduler(source.fetch, Reservation(Budget(10)), SIZES, is_open=is_open)
        requests.plan([Range(0, 50)])
        requests.plan([Range(1_000_000, 1_000_050)])
        requests.begin_queued()
        assert requests.in_flight == begun
        source.go.set()
        assert eventually(lambda: requests.in_flight == 0)
        assert len(source.asked) == begun
        requests.close()

    def test_a_bounded_number_of_requests_is_in_flight(self) -> None:
        source, budget = Source(), Budget(1 << 30)
        requests = RequestScheduler(source.fetch, Reservation(budget), SIZES)
        for i in range(2 * IN_FLIGHT):
            requests.plan([Range(i * 1_000_000, i * 1_000_000 + 10)])
        requests.begin_queued()
        assert requests.in_flight == IN_FLIGHT
        source.go.set()
        assert eventually(lambda: len(source.asked) == 2 * IN_FLIGHT)
        requests.close()
        assert budget.held == 0

    def test_data_behind_the_reader_is_evicted_for_what_is_ahead(self) -> None:
        source = Source()
        source.go.set()
        requests = RequestScheduler(source.fetch, Reservation(Budget(60)), SIZES)
        requests.plan([Range(0, 50)])
        requests.begin_queued()
        assert eventually(lambda: requests.in_flight == 0)
        requests.plan([Range(1_000_000, 1_000_050)])
        requests.begin_queued()
        assert len(source.asked) == 1
        requests.evictable_below = 50
        requests.begin_queued()
        assert eventually(lambda: len(source.asked) == 2)
        assert not requests.has(Range(0, 50))
        requests.close()

    def test_a_closed_scheduler_refuses_reads_and_begins_nothing(self) -> None:
        source = Source()
        requests = RequestScheduler(source.fetch, Reservation(Budget(1 << 30)), SIZES)
        requests.plan([Range(0, 50)])
        requests.close()
        requests.begin_queued()
        assert source.asked == []
        with pytest.raises(ValueError, match="closed"):
            requests.require(Range(0, 50))
