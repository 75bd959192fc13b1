"""What a running read_table asks for is found on its stack."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.fs.core import OpendalFileSystem
from opendalfs_arrow import call_hints, footer, handler
from opendalfs_arrow.projection import needed

ROWS = 200_000
GROUPS = 8
COLUMNS = [f"c{i}" for i in range(16)]
PATH = "asked/wide.parquet"


@pytest.fixture(scope="module")
def fs() -> Any:
    core = opendalfs.filesystem("memory")
    rng = np.random.default_rng(0)
    table = pa.table({name: rng.integers(0, 1 << 60, ROWS) for name in COLUMNS})
    pq.write_table(table, PATH, filesystem=opendalfs.arrow(core), row_group_size=ROWS // GROUPS)
    return core


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect what is found by each look at the stacks."""
    answers: list[Any] = []
    look = call_hints.call_of

    def looked(*place: Any) -> Any:
        call = look(*place)
        answers.append(None if call is None else call.asked)
        return call

    for module in (handler, call_hints):
        monkeypatch.setattr(module, "call_of", looked)
    return answers


def test_the_columns_of_a_call_are_found(fs: Any, found: list[Any]) -> None:
    pq.read_table(PATH, columns=["c1", "c9"], filesystem=opendalfs.arrow(fs))
    assert found
    assert all(one == call_hints.Asked(("c1", "c9"), None) for one in found)


def test_a_call_for_the_whole_table_is_found(fs: Any, found: list[Any]) -> None:
    pq.read_table("asked", filesystem=opendalfs.arrow(fs))
    assert found
    assert all(one == call_hints.Asked(None, None) for one in found)


def test_filters_are_found_and_name_their_columns(fs: Any, found: list[Any]) -> None:
    filters = [("c3", ">", 5)]
    pq.read_table(PATH, columns=["c1"], filters=filters, filesystem=opendalfs.arrow(fs))
    assert found
    assert all(one == call_hints.Asked(("c1",), filters) for one in found)
    assert found[0].names(COLUMNS) == ["c1", "c3"]


def test_pandas_calls_are_found_through_fsspec(fs: Any, found: list[Any]) -> None:
    pd.read_parquet(f"opendal+memory://{PATH}", columns=["c2"])
    assert found
    assert all(one == call_hints.Asked(("c2",), None) for one in found)


def test_nothing_is_found_for_a_dataset_scan(fs: Any, found: list[Any]) -> None:
    ds.dataset(PATH, filesystem=opendalfs.arrow(fs)).to_table(columns=["c1"])
    assert found
    assert not any(found)


def test_a_call_on_another_filesystem_or_path_is_not_taken_for_it(fs: Any) -> None:
    arrow, answers = opendalfs.arrow(fs), []

    def other() -> None:
        answers.append(call_hints.asked_of(fs, "asked/another.parquet"))
        answers.append(call_hints.asked_of(opendalfs.filesystem("fs"), PATH))

    reads = iter([other])

    def during(*place: Any) -> None:
        thread = threading.Thread(target=next(reads, lambda: None))
        thread.start()
        thread.join()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "call_of", during)
        pq.read_table(PATH, columns=["c1"], filesystem=arrow)
    assert answers == [None, None]


def test_a_cold_read_fetches_the_chosen_chunks_and_little_else(fs: Any) -> None:
    core = opendalfs.filesystem("memory", skip_instance_cache=True)
    metadata = pq.read_metadata(PATH, filesystem=opendalfs.arrow(fs))
    chosen = sum(metadata.row_group(g).column(c).total_compressed_size for g in range(GROUPS) for c in (1, 9))
    with opendalfs.trace() as trace:
        pq.read_table(PATH, columns=["c1", "c9"], filesystem=opendalfs.arrow(core))
    moved = trace.bytes - 256 * 1024  # the tail
    assert moved <= chosen * 1.05


def test_a_filter_names_columns_by_word() -> None:
    assert needed(["a", "b b", "c"], ["a"], (pc.field("b b") > 1) | (pc.field("a") == 2)) == ["a", "b b"]


class Values(list[int]):
    """Values of a filter that count how often they are looked through or printed."""

    looks = 0
    prints = 0

    def __iter__(self) -> Iterator[int]:
        Values.looks += 1
        return super().__iter__()

    def __repr__(self) -> str:
        Values.prints += 1
        return super().__repr__()

    __str__ = __repr__


def looks_of_a_read(folder: str, read: Callable[..., pa.Table], threads: int = 1) -> tuple[int, int]:
    Values.looks = Values.prints = 0
    wanted = Values(range(1_000))
    filters = [("year", "in", Values([2000])), ("id", "in", wanted)]

    def one(_: int) -> int:
        return read(folder, columns=["c1"], filters=filters).num_rows

    with ThreadPoolExecutor(threads) as pool:
        assert set(pool.map(one, range(threads))) == {1_000}
    return Values.looks, Values.prints


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("via", ["arrow", "fsspec"])
def test_a_large_filter_is_not_looked_through_again_for_each_file(
    via: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the files are larger than what is read of their end.
    monkeypatch.setattr(footer, "WHOLE", 0)
    monkeypatch.setattr(footer, "TAIL", 2_000)
    core = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
    used = opendalfs.arrow(core) if via == "arrow" else core
    for count in (2, 20):
        for i in range(count):
            table = pa.table({"id": range(i * 1_000, i * 1_000 + 1_000), "c1": range(1_000)})
            pq.write_table(table, f"n{count}/year=2000/{i:02}.parquet", filesystem=opendalfs.arrow(core))
    read = partial(pq.read_table, filesystem=used)
    few, many = (looks_of_a_read(f"n{count}", read, threads) for count in (2, 20))
    # pyarrow itself looks them through as often as it is called; two calls may see each other or not.
    assert many[0] <= few[0] + 4 * threads
    assert many[1] == 0


class Name(str):
    """A path that counts how often it is looked at."""

    looks = 0

    def __str__(self) -> str:
        Name.looks += 1
        return super().__str__()


def test_a_list_of_paths_is_not_looked_through_again_for_each_of_them(fs: Any) -> None:
    folder, table = f"asked-{uuid4().hex}", pa.table({"x": [1]})
    paths = [f"{folder}/{i:02}.parquet" for i in range(40)]
    for path in paths:
        pq.write_table(table, path, filesystem=opendalfs.arrow(fs))
    Name.looks = 0
    found = pq.read_table([Name(path) for path in paths], filesystem=opendalfs.arrow(fs))
    assert found.num_rows == 40
    # 1,600 when each file is looked for among all.
    assert 0 < Name.looks <= 8 * 40


@pytest.mark.parametrize(
    ("source", "path", "reads"),
    [
        ("b/t/x.parquet", "b/t/x.parquet", True),
        ("b/t/", "b/t/u/x.parquet", True),
        ("opendal+s3://b/t", "b/t/x.parquet", True),
        ("/tmp/t", "/tmp/t/x.parquet", True),
        ("b/t", "opendal+s3://b/t/x.parquet", True),
        (["b/u", "b/t"], "b/t/x.parquet", True),
        ("b/t", "b/t2/x.parquet", False),
        ("b/t/x", "b/t/x.parquet", False),
        (["b/u", "b/v"], "b/t/x.parquet", False),
        (None, "b/t/x.parquet", False),
    ],
)
def test_a_call_reads_what_it_names_and_what_lies_below(source: Any, path: str, reads: bool) -> None:
    values = {"filesystem": None, "source": source, "columns": ["a"]}
    assert (call_hints._call_on(values, None, path) is not None) is reads


def test_calls_that_ask_for_the_same_are_told_from_others_without_printing_them() -> None:
    array = np.arange(3)
    same = [
        (None, None),
        (("a",), [("x", "in", [1, 2])]),
        ({"y": pc.field("x") + 1}, pc.field("x") > 1),
        (("a",), [("x", "in", array)]),
    ]
    for columns, filters in same:
        again = {"y": pc.field("x") + 1} if isinstance(columns, dict) else columns
        one, other = call_hints.Asked(columns, filters), call_hints.Asked(again, filters)
        assert call_hints._same(one, other)
    different = [
        call_hints.Asked(("a",), None),
        call_hints.Asked(("b",), None),
        call_hints.Asked({"y": pc.field("x") + 2}, None),
        call_hints.Asked(("a",), [("x", "in", array)]),
        call_hints.Asked(("a",), [("x", "in", array + 1)]),
        call_hints.Asked(("a",), pc.field("x") > 1),
        call_hints.Asked(("a",), pc.field("x") > 2),
    ]
    for i, one in enumerate(different):
        assert [j for j, other in enumerate(different) if call_hints._same(one, other)] == [i]


def test_what_is_kept_of_a_call_goes_with_it(fs: Any) -> None:
    pq.read_table("asked", columns=["c1"], filters=[("c3", ">", 5)], filesystem=opendalfs.arrow(fs))
    gc.collect()
    assert call_hints._kept == {}
