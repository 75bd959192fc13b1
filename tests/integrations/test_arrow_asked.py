"""What a running read_table asks for is found on its stack."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs_arrow import asked, handler
from opendalfs_arrow.names import needed

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
    look = asked.call_of

    def looked(*place: Any) -> Any:
        call = look(*place)
        answers.append(None if call is None else call.asked)
        return call

    for module in (handler, asked):
        monkeypatch.setattr(module, "call_of", looked)
    return answers


def test_the_columns_of_a_call_are_found(fs: Any, found: list[Any]) -> None:
    pq.read_table(PATH, columns=["c1", "c9"], filesystem=opendalfs.arrow(fs))
    assert found
    assert all(one == asked.Asked(("c1", "c9"), None) for one in found)


def test_a_call_for_the_whole_table_is_found(fs: Any, found: list[Any]) -> None:
    pq.read_table("asked", filesystem=opendalfs.arrow(fs))
    assert found
    assert all(one == asked.Asked(None, None) for one in found)


def test_filters_are_found_and_name_their_columns(fs: Any, found: list[Any]) -> None:
    filters = [("c3", ">", 5)]
    pq.read_table(PATH, columns=["c1"], filters=filters, filesystem=opendalfs.arrow(fs))
    assert found
    assert all(one == asked.Asked(("c1",), filters) for one in found)
    assert found[0].names(COLUMNS) == ["c1", "c3"]


def test_pandas_calls_are_found_through_fsspec(fs: Any, found: list[Any]) -> None:
    pd.read_parquet(f"opendal+memory://{PATH}", columns=["c2"])
    assert found
    assert all(one == asked.Asked(("c2",), None) for one in found)


def test_nothing_is_found_for_a_dataset_scan(fs: Any, found: list[Any]) -> None:
    ds.dataset(PATH, filesystem=opendalfs.arrow(fs)).to_table(columns=["c1"])
    assert found
    assert not any(found)


def test_a_call_on_another_filesystem_or_path_is_not_taken_for_it(fs: Any) -> None:
    arrow, answers = opendalfs.arrow(fs), []

    def other() -> None:
        answers.append(asked.asked_of(fs, "asked/another.parquet"))
        answers.append(asked.asked_of(opendalfs.filesystem("fs"), PATH))

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
