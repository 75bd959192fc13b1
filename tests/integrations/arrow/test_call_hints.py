"""The arguments of a running read_table are found in the frame of its caller, and used as a hint."""

from __future__ import annotations

import gc
import pickle
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
from pyarrow.fs import PyFileSystem

import opendalfs
import opendalfs_arrow
from opendalfs.fs.core import OpendalFileSystem
from opendalfs_arrow import call_hints, files, footer, handler
from opendalfs_arrow.call_hints import CallHint
from opendalfs_arrow.projection import needed
from tests.integrations.arrow.places import run_python
from tests.versions import before

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
    """Collect the hint that each opened file gets."""
    hints: list[Any] = []
    find = call_hints.find_call

    def finding(*args: Any) -> Any:
        call = find(*args)
        hints.append(None if call is None else call.hint)
        return call

    for module in (handler, files):
        monkeypatch.setattr(module, "find_call", finding)
    return hints


def test_the_columns_of_a_call_are_found(fs: Any, found: list[Any]) -> None:
    pq.read_table(PATH, columns=["c1", "c9"], filesystem=opendalfs.arrow(fs))
    assert found
    assert all(one == CallHint(("c1", "c9"), None) for one in found)


def test_a_call_for_the_whole_table_is_found(fs: Any, found: list[Any]) -> None:
    pq.read_table("asked", filesystem=opendalfs.arrow(fs))
    assert found
    assert all(one == CallHint(None, None) for one in found)


def test_filters_are_found_and_name_their_columns(fs: Any, found: list[Any]) -> None:
    filters = [("c3", ">", 5)]
    pq.read_table(PATH, columns=["c1"], filters=filters, filesystem=opendalfs.arrow(fs))
    assert found
    assert all(one == CallHint(("c1",), filters) for one in found)
    assert found[0].columns_of(COLUMNS) == ["c1", "c3"]


def test_pandas_calls_are_found_through_fsspec(fs: Any, found: list[Any]) -> None:
    pd.read_parquet(f"opendal+memory://{PATH}", columns=["c2"])
    assert found
    assert all(one == CallHint(("c2",), None) for one in found)


def test_nothing_is_found_for_a_dataset_scan(fs: Any, found: list[Any]) -> None:
    ds.dataset(PATH, filesystem=opendalfs.arrow(fs)).to_table(columns=["c1"])
    assert found
    assert not any(found)


@pytest.mark.parametrize("source", ["asked", "asked/", "/asked", "opendal+memory://asked"])
@pytest.mark.parametrize("over", ["fs", "urls", "fsspec"])
def test_a_call_is_found_however_its_path_is_spelled(
    fs: Any, found: list[Any], source: str, over: str
) -> None:
    if over == "fs" and not source.startswith("asked") and before("pyarrow", "26"):
        pytest.skip("pyarrow 18 lists a directory again by other names, and reads some files without a hint")
    if over == "urls":
        source = f"opendal+memory://{source.rpartition('://')[2].lstrip('/')}"
    if over == "fsspec":
        # pyarrow's bridge takes a directory in the filesystem's own spelling only.
        source = f"{source.rstrip('/')}/wide.parquet"
    used = fs if over == "fsspec" else opendalfs.arrow(fs if over == "fs" else None)
    assert pq.read_table(source, columns=["c3"], filesystem=used).num_rows == ROWS
    assert found
    assert all(one == CallHint(("c3",), None) for one in found)


def many_files(fs: Any) -> tuple[str, list[str]]:
    """Write files enough for most of them to be opened in Arrow's threads."""
    folder, table = f"asked-{uuid4().hex}", pa.table({"x": [1], "y": [2]})
    paths = [f"{folder}/{i:02}.parquet" for i in range(40)]
    for path in paths:
        pq.write_table(table, path, filesystem=opendalfs.arrow(fs))
    return folder, paths


@pytest.mark.parametrize("over", ["arrow", "fsspec"])
@pytest.mark.parametrize("as_list", [False, True])
def test_files_opened_in_threads_of_arrow_get_the_hint(
    fs: Any, found: list[Any], over: str, as_list: bool
) -> None:
    folder, paths = many_files(fs)
    used = fs if over == "fsspec" else opendalfs.arrow(fs)
    assert pq.read_table(paths if as_list else folder, columns=["y"], filesystem=used).num_rows == 40
    assert found == [CallHint(("y",), None)] * 41


def test_the_files_of_a_call_share_one_hint(fs: Any, found: list[Any]) -> None:
    folder, _ = many_files(fs)
    for source in (PATH, folder):
        found.clear()
        pq.read_table(source, filesystem=opendalfs.arrow(fs))
        assert found
        assert all(hint is found[0] for hint in found)


class Spy(handler.Handler):
    """A handler that calls a function whenever a file is opened."""

    during: Any = None

    def open_input_file(self, path: str) -> Any:
        self.during()
        return super().open_input_file(path)


def test_a_call_on_another_filesystem_or_path_gives_no_hint(fs: Any) -> None:
    spy, answers = Spy(fs), []

    def ask() -> None:
        calls = [
            call_hints.find_call(*what) for what in ((spy, "asked/another"), (Spy(fs), PATH), (spy, PATH))
        ]
        answers.append([call is not None for call in calls])

    def during() -> None:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    spy.during = during
    pq.read_table(PATH, columns=["c1"], filesystem=PyFileSystem(spy))
    assert answers
    assert all(answer == [False, False, True] for answer in answers)


def test_a_call_whose_error_is_kept_gives_no_hint_to_later_reads(fs: Any, found: list[Any]) -> None:
    arrow = opendalfs.arrow(fs)
    with pytest.raises(pa.ArrowInvalid, match="No match for FieldRef") as kept:
        pq.read_table(PATH, columns=["c1"], filters=[("none", "==", 5)], filesystem=arrow)
    assert kept.traceback
    found.clear()
    ds.dataset(PATH, filesystem=arrow).to_table(columns=["c1"])
    pq.read_table(PATH, columns=["c2"], filesystem=arrow)
    assert found == [None, None, CallHint(("c2",), None), CallHint(("c2",), None)]


def test_a_call_through_fsspec_whose_error_is_kept_gives_no_hint_to_later_reads(
    fs: Any, found: list[Any]
) -> None:
    # No get_file_info of the handler comes before the next open, as it does in the test above.
    with pytest.raises(pa.ArrowInvalid, match="No match for FieldRef") as kept:
        pq.read_table(PATH, filters=[("none", "==", 5)], filesystem=fs)
    assert kept.traceback
    found.clear()
    pq.read_table(PATH, columns=["c2"], filesystem=fs)
    assert found
    assert all(hint == CallHint(("c2",), None) for hint in found)
    found.clear()
    with fs.open(PATH) as file:
        pq.ParquetFile(file).read(["c1"])
    assert found == [None]


def test_a_read_table_that_another_library_has_wrapped_gives_its_arguments() -> None:
    done = run_python("""
        import functools
        import pyarrow as pa, pyarrow.parquet as pq

        def wrapped(function):
            @functools.wraps(function)
            def call(*args, **kwargs):
                return function(*args, **kwargs)
            return call

        pq.read_table = wrapped(pq.read_table)
        import opendalfs
        from opendalfs_arrow import call_hints, handler

        found, find = [], call_hints.find_call
        handler.find_call = lambda *args: found.append(find(*args)) or found[-1]
        fs = opendalfs.arrow("memory")
        pq.write_table(pa.table({"x": [1], "y": [2]}), "t/t.parquet", filesystem=fs)
        pq.read_table("t/t.parquet", columns=["y"], filesystem=fs)
        print({call.hint.columns for call in found})
    """)
    assert done.stdout.strip() == "{('y',)}", done.stderr


@pytest.mark.parametrize("filters", [(("c3", ">", 5),), [(("c3", ">", 5),)], pc.field("c3") > 5], ids=str)
def test_a_hint_changes_nothing_about_which_arguments_are_accepted(fs: Any, filters: Any) -> None:
    def read(hints: bool) -> Any:
        used = opendalfs.arrow(fs, call_hints=hints)
        try:
            return pq.read_table("asked", columns=(c for c in ["c1"]), filters=filters, filesystem=used)
        except Exception as error:
            return type(error), str(error)

    assert read(True) == read(False)


def test_hints_can_be_turned_off(fs: Any, found: list[Any]) -> None:
    arrow = opendalfs.arrow(fs, call_hints=False)
    for used in (arrow, pickle.loads(pickle.dumps(arrow)), opendalfs_arrow.with_columns(arrow, ["c1"])):
        assert pq.read_table("asked", columns=["c1"], filesystem=used).num_rows == ROWS
    assert found == []
    assert not opendalfs.arrow(call_hints=False).handler.call_hints


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


def test_calls_with_equal_arguments_are_recognised_without_printing_them() -> None:
    array = np.arange(3)
    same = [
        (None, None),
        (("a",), [("x", "in", [1, 2])]),
        ({"y": pc.field("x") + 1}, pc.field("x") > 1),
        (("a",), [("x", "in", array)]),
    ]
    for columns, filters in same:
        again = {"y": pc.field("x") + 1} if isinstance(columns, dict) else columns
        one, other = CallHint(columns, filters), CallHint(again, filters)
        assert one.same_as(other)
    different = [
        CallHint(("a",), None),
        CallHint(("b",), None),
        CallHint({"y": pc.field("x") + 2}, None),
        CallHint(("a",), [("x", "in", array)]),
        CallHint(("a",), [("x", "in", array + 1)]),
        CallHint(("a",), pc.field("x") > 1),
        CallHint(("a",), pc.field("x") > 2),
    ]
    for i, one in enumerate(different):
        assert [j for j, other in enumerate(different) if one.same_as(other)] == [i]


def test_hints_are_freed_with_their_call(fs: Any) -> None:
    pq.read_table("asked", columns=["c1"], filters=[("c3", ">", 5)], filesystem=opendalfs.arrow(fs))
    gc.collect()
    assert call_hints.running_calls() == []
