"""A call that reads many files prefetches the next ones."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.budget import Budget, Reservation
from opendalfs.testing import DelayProxy, S3Server
from opendalfs_arrow import call_hints
from opendalfs_arrow.call_hints import CallHint
from tests.integrations.arrow.places import Place, chunk_bytes, numbers, read_twice, s3_place
from tests.waiting import eventually

FILES = 12
ROWS = 60_000
COLUMNS = ["c1", "c9"]
TABLE = numbers(FILES * ROWS, 12)


@pytest.fixture(scope="module")
def far(s3_server: S3Server) -> Iterator[Place]:
    """Yield a filesystem behind a delay that shows round trips on a busy machine too."""
    with DelayProxy(s3_server.endpoint, latency=0.03) as proxy:
        yield s3_place(s3_server, **proxy.through(s3_server.options))


def write(place: Place, name: Callable[[int], str]) -> str:
    """Write the table as files of 5 MB in a directory that nothing is remembered of."""
    folder = place.path(uuid.uuid4().hex)
    for i in range(FILES):
        part = TABLE.slice(i * ROWS, ROWS)
        path = f"{folder}/{name(i)}"
        pq.write_table(part, path, filesystem=place.fs, compression="none", row_group_size=ROWS // 3)
    return folder


@pytest.fixture(scope="module")
def flat(far: Place) -> str:
    return write(far, "{:02}.parquet".format)


@pytest.fixture(scope="module")
def tree(far: Place) -> str:
    return write(far, lambda i: f"year={2000 + i // 4}/{i:02}.parquet")


@pytest.fixture
def fs(far: Place) -> Any:
    """Return a filesystem with empty caches."""
    return opendalfs.arrow(
        type(far.core)(**far.core.storage_options, listings_expiry_time=uuid.uuid4().int % 1_000 + 60)
    )


def chosen(fs: Any, folder: str, columns: list[str]) -> int:
    """Add up the chunks of some columns, over all files below a directory."""
    found = fs.get_file_info(pafs.FileSelector(folder, recursive=True))
    files = [info.path for info in found if info.is_file]
    return sum(chunk_bytes(pq.read_metadata(path, filesystem=fs), columns) for path in files)


def tails(trace: opendalfs.Trace) -> list[Any]:
    return [r for r in trace.records if r.operation == "read" and r.bytes == 256 * 1024]


def test_a_directory_is_read_in_the_round_trips_of_one_file(fs: Any, far: Place, flat: str) -> None:
    with opendalfs.trace() as trace:
        found = pq.read_table(flat, columns=COLUMNS, filesystem=fs)
    assert found.equals(TABLE.select(COLUMNS))
    assert (trace.count("stat"), trace.count("list")) == (1, 1)
    assert len(tails(trace)) == FILES
    assert read_twice(trace) == 0
    assert trace.bytes <= 1.05 * chosen(far.fs, flat, COLUMNS) + FILES * 256 * 1024
    # What it is, where the footers are, the data; and what a busy machine puts in a row.
    assert trace.round_trips < FILES
    assert trace.in_flight >= FILES // 2


def test_a_list_of_files_is_read_so_too(fs: Any, flat: str) -> None:
    files = [f"{flat}/{i:02}.parquet" for i in range(FILES)]
    with opendalfs.trace() as trace:
        assert pq.read_table(files, columns=COLUMNS, filesystem=fs).equals(TABLE.select(COLUMNS))
    # Nothing told the version of the first, so that each time it is opened it is what it is then.
    assert read_twice(trace) <= 256 * 1024
    assert trace.round_trips < FILES


def test_a_filter_on_partitions_fetches_the_files_it_leaves_and_no_others(
    fs: Any, far: Place, tree: str
) -> None:
    with opendalfs.trace() as trace:
        found = pq.read_table(tree, columns=COLUMNS, filters=[("year", "=", 2001)], filesystem=fs)
    assert found.equals(TABLE.slice(4 * ROWS, 4 * ROWS).select(COLUMNS))
    # The first file of all tells the schema.
    touched = {r.key.rpartition("/")[2] for r in trace.records if r.operation == "read"}
    assert touched == {"00.parquet", "04.parquet", "05.parquet", "06.parquet", "07.parquet"}
    assert trace.bytes <= 1.05 * chosen(far.fs, f"{tree}/year=2001", COLUMNS) + 5 * 256 * 1024
    assert read_twice(trace) == 0
    # What it is, where the footers are, the data; and what a busy machine puts in a row.
    assert trace.round_trips < 10


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        (None, "all"),
        ([("year", "=", 2001)], "2001"),
        ([("year", "==", "2001")], "2001"),
        ([("year", "in", {2001, 2002})], "2001 2002"),
        ([("x", "<", 5)], "all"),
        ([("x", "<", 5), ("year", "=", 2000)], "2000"),
        ([[("year", "=", 2000)], [("year", "=", 2002), ("x", ">", 1)]], "2000 2002"),
        ([("year", ">", 2000)], ""),
        (pc.field("year") == 2001, ""),
    ],
)
def test_files_excluded_by_their_partitions_are_not_prefetched(filters: Any, taken: str) -> None:
    hint = CallHint(None, filters)
    found = [year for year in ("2000", "2001", "2002") if hint.may_read(f"lake/t/year={year}/m=1/a.parquet")]
    assert found == (["2000", "2001", "2002"] if taken == "all" else taken.split())


def test_data_that_a_filter_on_rows_may_exclude_is_not_prefetched(fs: Any, far: Place, flat: str) -> None:
    rows = [("id", ">=", 5 * ROWS), ("id", "<", 6 * ROWS)]
    with opendalfs.trace() as trace:
        found = pq.read_table(flat, columns=COLUMNS, filters=rows, filesystem=fs)
    assert found.equals(TABLE.slice(5 * ROWS, ROWS).select(COLUMNS))
    read = {
        r.key.rpartition("/")[2] for r in trace.records if r.operation == "read" and r not in tails(trace)
    }
    assert read == {"05.parquet"}


def test_prefetched_data_that_a_call_did_not_read_is_freed(fs: Any, far: Place, flat: str) -> None:
    budget = fs.handler.cache.budget = Budget(1 << 30)
    folder = far.path(uuid.uuid4().hex)
    far.core.copy(f"{flat}/", folder, recursive=True)
    far.core.pipe_file(f"{folder}/03.parquet", b"no Parquet at all, " * 100)
    with pytest.raises(pa.ArrowInvalid, match=r"03\.parquet|magic"):
        pq.read_table(folder, columns=COLUMNS, filesystem=fs)
    gc.collect()
    assert call_hints.running_calls() == []
    # pyarrow's threads may still be with the other files when the call has failed.
    assert eventually(lambda: budget.held == 0)


def test_memory_held_by_a_kept_error_is_freed_for_the_next_call(fs: Any, far: Place, flat: str) -> None:
    budget = fs.handler.cache.budget = Budget(1 << 30)
    folder = far.path(uuid.uuid4().hex)
    far.core.copy(f"{flat}/", folder, recursive=True)
    far.core.pipe_file(f"{folder}/01.parquet", b"no Parquet at all, " * 100)
    with pytest.raises(pa.ArrowInvalid) as kept:
        pq.read_table(folder, columns=COLUMNS, filesystem=fs)
    assert kept.traceback
    assert len(call_hints.running_calls()) == 1
    assert pq.read_table(flat, columns=COLUMNS, filesystem=fs).num_rows == FILES * ROWS
    assert call_hints.running_calls() == []
    assert eventually(lambda: budget.held == 0)


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_prefetched_files_stay_within_the_budget(
    fs: Any, flat: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = fs.handler.cache.budget = Budget(limit)
    most = []
    grow = Reservation.grow
    monkeypatch.setattr(
        Reservation, "grow", lambda self, size: (grow(self, size), most.append(budget.held))[0]
    )
    assert pq.read_table(flat, columns=COLUMNS, filesystem=fs).equals(TABLE.select(COLUMNS))
    # Each file that is open may have one request under way, whatever the budget says.
    assert max(most) <= limit + 8 * (1 << 20)
    assert eventually(lambda: budget.held == 0)


def test_calls_side_by_side_read_right(fs: Any, flat: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    wanted = [["c1"], ["c1"], ["c2", "c5"], ["id"], None, ["c1"]]
    with ThreadPoolExecutor(len(wanted)) as threads:
        found = list(threads.map(lambda c: pq.read_table(flat, columns=c, filesystem=fs), wanted))
    for columns, table in zip(wanted, found, strict=True):
        assert table.equals(TABLE if columns is None else TABLE.select(columns))
    assert call_hints.running_calls() == []


def test_a_filter_in_every_form_reads_right(fs: Any, tree: str) -> None:
    for filters in (
        pc.field("year") == 2001,
        [[("year", "=", 2001)], [("year", "=", 2002), ("id", "<", 9 * ROWS)]],
        (pc.field("year") > 2000) & (pc.field("c1") < 0.5),
    ):
        expression = pq.filters_to_expression(filters) if isinstance(filters, list) else filters
        years = pa.array([2000 + i // (4 * ROWS) for i in range(len(TABLE))], pa.int32())
        expected = TABLE.append_column("year", years).filter(expression)
        found = pq.read_table(tree, columns=["id"], filters=filters, filesystem=fs)
        assert found["id"].equals(expected["id"])
