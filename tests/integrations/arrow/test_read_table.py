"""`opendalfs_arrow.read_table` against `pyarrow.parquet.read_table` on local copies of the same files."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.budget import Budget
from opendalfs.testing import DelayProxy, S3Server
from opendalfs_arrow import read_table
from tests.integrations.arrow.places import Place, chunk_bytes, data_reads, numbers, read_twice, s3_place

NAMES = ["a.parquet", "b.parquet", "c.parquet"]


def orders(rows: int, first: int) -> pa.Table:
    ids = range(first, first + rows)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "region": [("north", "south", "west")[i % 3] for i in ids],
            "price": [i / 7 for i in ids],
            "who": [{"name": f"n{i % 5}", "age": i % 90} for i in ids],
            "tags": [[f"t{i % 4}"] * (i % 3) for i in ids],
        }
    )


class Shop:
    """The same files on S3, in memory and on this disk."""

    def __init__(self, local: Path, server: S3Server) -> None:
        self.local = str(local)
        for i, name in enumerate(NAMES):
            (local / "flat").mkdir(exist_ok=True)
            pq.write_table(orders(500, 500 * i), local / "flat" / name, row_group_size=100)
        whole = pa.concat_tables([orders(500, 500 * i) for i in range(3)])
        years = whole.append_column("year", pa.array([2020 + i % 2 for i in range(whole.num_rows)]))
        ds.write_dataset(
            years,
            local / "tree",
            format="parquet",
            partitioning=["year", "region"],
            partitioning_flavor="hive",
            max_rows_per_group=50,
        )
        frame = pd.DataFrame({"x": range(10), "y": range(10)}, index=pd.Index(list("abcdefghij"), name="key"))
        frame.to_parquet(local / "frame.parquet")
        self.places = {
            "s3": s3_place(server),
            "memory": Place("memory", opendalfs.arrow("memory"), uuid.uuid4().hex),
            "fs": Place("fs", opendalfs.arrow("fs"), self.local),
        }
        for name in ("s3", "memory"):
            place = self.places[name]
            pafs.copy_files(self.local, place.root, pafs.LocalFileSystem(), place.fs)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"), s3_server)


QUERIES: dict[str, dict[str, Any]] = {
    "all": {},
    "columns": {"columns": ["price", "id"]},
    "no columns": {"columns": []},
    "nested column": {"columns": ["who.name", "tags"]},
    "tuples": {"filters": [("id", ">=", 120), ("id", "<", 130)]},
    "alternatives": {
        "columns": ["id"],
        "filters": [[("id", "<", 5)], [("region", "=", "west"), ("id", ">", 1400)]],
    },
    "expression": {"columns": ["price"], "filters": (pc.field("id") > 333) & (pc.field("price") > 50)},
    "nested filter": {"columns": ["id"], "filters": pc.field("who", "age") == 42},
    "in": {"filters": [("region", "in", ["north", "west"])]},
    "nothing": {"columns": ["id"], "filters": [("id", ">", 10**9)]},
    "schema": {"schema": pa.schema([("id", pa.int32()), ("price", pa.float32()), ("new", pa.string())])},
    "dictionary": {"columns": ["region"], "read_dictionary": ["region"]},
    "computed": {
        "columns": {"twice": pc.field("id") * 2, "name": pc.field("who", "name")},
        "filters": pc.field("price") > 50,
    },
    "repeated column": {"columns": ["id", "id"]},
    "buffered": {"columns": ["id", "tags"], "buffer_size": 1_000},
    "one thread": {"columns": ["id", "tags"], "use_threads": False},
    "no pre-buffer": {"columns": ["id", "tags"], "pre_buffer": False},
}
SOURCES: dict[str, Callable[[str], Any]] = {
    "file": lambda root: f"{root}/flat/b.parquet",
    "list": lambda root: [f"{root}/flat/{name}" for name in ("c.parquet", "a.parquet")],
    "directory": lambda root: f"{root}/flat",
    "directory/": lambda root: f"{root}/flat/",
}


def same(found: pa.Table, expected: pa.Table) -> bool:
    return bool(found.equals(expected) and found.schema.equals(expected.schema, check_metadata=True))


class TestSameAsPyarrow:
    @pytest.mark.parametrize("place", ["s3", "memory", "fs"])
    @pytest.mark.parametrize("source", SOURCES)
    @pytest.mark.parametrize("query", QUERIES)
    def test_files_and_directories(self, shop: Shop, place: str, source: str, query: str) -> None:
        here = shop.places[place]
        found = read_table(SOURCES[source](here.root), filesystem=here.fs, **QUERIES[query])
        assert same(found, pq.read_table(SOURCES[source](shop.local), **QUERIES[query]))

    @pytest.mark.parametrize("place", ["s3", "memory", "fs"])
    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"columns": ["id", "year"]},
            {"columns": ["id"], "filters": [("year", "=", 2021)]},
            {"filters": [("region", "=", "west"), ("id", "<", 300)]},
            {"filters": (pc.field("year") == 2020) | (pc.field("id") == 7)},
            {"partitioning": None, "columns": ["id"]},
            {
                "partitioning": ds.partitioning(
                    pa.schema([("year", pa.int16()), ("region", pa.string())]), flavor="hive"
                )
            },
        ],
        ids=["all", "partition column", "one year", "two filters", "expression", "no partitioning", "schema"],
    )
    def test_hive_trees(self, shop: Shop, place: str, query: dict[str, Any]) -> None:
        here = shop.places[place]
        found = read_table(here.path("tree"), filesystem=here.fs, **query)
        assert same(found, pq.read_table(f"{shop.local}/tree", **query))

    @pytest.mark.parametrize("place", ["s3", "memory", "fs"])
    @pytest.mark.parametrize(("pattern", "names"), [("flat/*.parquet", NAMES), ("flat/[bc]*", NAMES[1:])])
    def test_globs(self, shop: Shop, place: str, pattern: str, names: list[str]) -> None:
        here = shop.places[place]
        found = read_table(here.path(pattern), columns=["id"], filesystem=here.fs)
        assert same(found, pq.read_table([f"{shop.local}/flat/{n}" for n in names], columns=["id"]))

    def test_a_name_that_looks_like_a_glob(self, shop: Shop) -> None:
        here = shop.places["memory"]
        path = here.path("odd", "x[1].parquet")
        pq.write_table(orders(3, 0), path, filesystem=here.fs)
        assert read_table(path, filesystem=here.fs).equals(orders(3, 0))

    @pytest.mark.parametrize("place", ["s3", "memory", "fs"])
    @pytest.mark.parametrize("columns", [None, ["y"]], ids=str)
    def test_the_index_of_pandas(self, shop: Shop, place: str, columns: list[str] | None) -> None:
        here = shop.places[place]
        with opendalfs.trace() as trace:
            found = read_table(
                here.path("frame.parquet"), columns=columns, use_pandas_metadata=True, filesystem=here.fs
            )
        local = pq.read_table(f"{shop.local}/frame.parquet", columns=columns, use_pandas_metadata=True)
        assert same(found, local)
        assert found.to_pandas().index.name == "key"
        assert trace.count("read") <= (0 if place == "fs" else 1)

    def test_paths_of_every_kind(self, shop: Shop, s3_server: S3Server) -> None:
        here = shop.places["s3"]
        expected = pq.read_table(f"{shop.local}/flat")
        assert read_table(here.path("flat"), filesystem=here.core).equals(expected)
        url = f"opendal+s3://{here.path('flat')}"
        assert read_table(url, storage_options=s3_server.options).equals(expected)
        assert read_table(f"{url}/*.parquet", storage_options=s3_server.options).equals(expected)
        assert read_table(Path(shop.local) / "flat").equals(expected)


class TestErrors:
    @pytest.mark.parametrize("path", ["no.parquet", "no/*.parquet", "no/such/tree"])
    def test_missing_paths_raise_with_their_name(self, shop: Shop, path: str) -> None:
        here = shop.places["s3"]
        with pytest.raises(FileNotFoundError, match=r"no"):
            read_table(here.path(path), filesystem=here.fs)
        with pytest.raises(FileNotFoundError):
            read_table([here.path("flat/a.parquet"), here.path(path)], filesystem=here.fs)

    def test_unknown_columns_raise_as_in_pyarrow(self, shop: Shop) -> None:
        here = shop.places["s3"]
        with pytest.raises(pa.ArrowInvalid, match="nope"):
            read_table(here.path("flat"), filters=[("nope", "=", 1)], filesystem=here.fs)

    @pytest.mark.parametrize("columns", ["id", ["nope"], ["who.nope"]])
    def test_columns_that_pyarrow_refuses_are_refused_alike(self, shop: Shop, columns: Any) -> None:
        here = shop.places["memory"]
        outcomes = []
        for read, path, kwargs in (
            (pq.read_table, f"{shop.local}/flat", {}),
            (read_table, here.path("flat"), {"filesystem": here.fs}),
        ):
            try:
                outcomes.append(read(path, columns=columns, **kwargs).num_columns)
            except ValueError as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]

    def test_columns_of_any_kind_are_taken(self, shop: Shop) -> None:
        here = shop.places["memory"]
        for columns in (("id",), pd.Index(["id"]), iter(["id"])):
            assert read_table(here.path("flat"), columns=columns, filesystem=here.fs).column_names == ["id"]

    @pytest.mark.parametrize("source", [None, 5, io.BytesIO(b"PAR1")])
    def test_what_is_no_path_is_refused_as_such(self, shop: Shop, source: Any) -> None:
        with pytest.raises(TypeError, match="source= is not a path"):
            read_table(source, filesystem=shop.places["memory"].fs)

    def test_a_filesystem_of_another_kind_is_named(self) -> None:
        with pytest.raises(TypeError, match="LocalFileSystem"):
            read_table("x", filesystem=pafs.LocalFileSystem())

    def test_options_go_to_one_place(self, shop: Shop) -> None:
        with pytest.raises(OptionError, match="storage_options"):
            read_table("x", filesystem=shop.places["memory"].fs, storage_options={"root": "/"})


class TestRequests:
    def test_pruned_partitions_are_not_touched(self, shop: Shop) -> None:
        here = shop.places["s3"]
        with opendalfs.trace() as trace:
            read_table(here.path("tree"), columns=["id"], filters=[("year", "=", 2021)], filesystem=here.fs)
        touched = {r.key for r in trace.records if r.operation == "read" and "year=2020" in r.key}
        # The first file, of 2020, tells the schema.
        assert len(touched) <= 1

    def test_computed_columns_fetch_what_they_are_computed_from(self, s3_server: S3Server) -> None:
        near = s3_place(s3_server)
        path = near.path("wide.parquet")
        table = numbers(300_000, 8)
        pq.write_table(table, path, filesystem=near.fs, compression="none", use_dictionary=False)
        chosen = chunk_bytes(pq.read_metadata(path, filesystem=near.fs), ["c2", "c5"])
        for read in (read_table, pq.read_table):
            fs = opendalfs.arrow(near.core)
            with opendalfs.trace() as trace:
                found = read(path, columns={"sum": pc.field("c2") + pc.field("c5")}, filesystem=fs)
            assert found["sum"].equals(pc.add(table["c2"], table["c5"]))
            size = near.fs.get_file_info(path).size
            assert sum(r.bytes for r in data_reads(trace, size)) <= 1.05 * chosen

    def test_many_files_are_fetched_together_and_once(self, s3_server: S3Server) -> None:
        near = s3_place(s3_server)
        for i in range(12):
            pq.write_table(
                numbers(40_000, 4, seed=i),
                near.path(f"{i:02}.parquet"),
                filesystem=near.fs,
                compression="none",
            )
        with DelayProxy(s3_server.endpoint, latency=0.03) as proxy, opendalfs.trace() as trace:
            fs = opendalfs.arrow("s3", **proxy.through(s3_server.options))
            found = read_table(near.root, columns=["c1"], filesystem=fs)
        assert found.num_rows == 12 * 40_000
        assert read_twice(trace) == 0
        size = near.fs.get_file_info(near.path("00.parquet")).size
        assert trace.count("read") - len(data_reads(trace, size)) == 12
        assert trace.in_flight >= 6
        assert trace.round_trips <= 10

    def test_a_small_budget_is_enough(self, shop: Shop) -> None:
        here = shop.places["memory"]
        fs = opendalfs.arrow(here.core)
        fs.handler.cache.budget = Budget(0)
        try:
            assert read_table(here.path("flat"), filesystem=fs).equals(pq.read_table(f"{shop.local}/flat"))
        finally:
            fs.handler.cache.budget = None

    def test_several_threads_read_through_one_filesystem(self, shop: Shop) -> None:
        here = shop.places["s3"]
        queries = [
            QUERIES[name] for name in ("all", "columns", "tuples", "alternatives", "expression", "nothing")
        ]
        expected = [pq.read_table(f"{shop.local}/flat", **q) for q in queries]
        wrong: list[Any] = []

        def work(i: int) -> None:
            found = [read_table(here.path("flat"), filesystem=here.fs, **queries[i]) for _ in range(3)]
            wrong.extend(queries[i] for table in found if not table.equals(expected[i]))

        threads = [threading.Thread(target=work, args=(i % len(queries),)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
