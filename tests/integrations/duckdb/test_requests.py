"""The number of requests that a query costs."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

import opendalfs
import opendalfs_duckdb
from opendalfs.testing import S3Server
from tests.integrations.duckdb import harness
from tests.integrations.duckdb.lake import Lake, make_lake


@pytest.fixture(scope="module")
def lake(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    yield from make_lake(s3_server, tmp_path_factory.mktemp("lake"))


@pytest.fixture
def con(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", schemes=("s3",), cache=False, **lake.options)
    yield con
    con.close()


def files_read(trace: opendalfs.Trace) -> set[str]:
    return {r.key.partition("/")[2] for r in trace.records if r.operation == "read"}


def test_filter_on_one_file(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with opendalfs.trace() as t:
        rows = con.execute(f"FROM '{lake.url('one.parquet')}' WHERE c0 = 5").fetchall()
    assert len(rows) == 1
    assert t.count("stat") == 1
    assert t.count("read") == 2, "the footer and one row group"
    assert t.requests == 3
    assert t.bytes < (lake.local / "one.parquet").stat().st_size / 4


def test_count_reads_the_footer_alone(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with opendalfs.trace() as t:
        con.execute(f"SELECT count(*) FROM '{lake.url('one.parquet')}'").fetchall()
    assert (t.count("stat"), t.count("read"), t.requests) == (1, 1, 2)


def test_glob_of_twenty_files(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with opendalfs.trace() as t:
        con.execute(f"SELECT sum(c0) FROM '{lake.url('many/*.parquet')}'").fetchall()
    assert (t.count("list"), t.count("stat")) == (1, 0)
    assert t.count("read") == t.requests - 1 <= 40, "a footer and a row group each"


@pytest.mark.parametrize("pattern", ["hive/**/*.parquet", "hive/*/*/*.parquet", "hive/y=2021/*/*.parquet"])
def test_hive_with_a_pruning_filter(con: duckdb.DuckDBPyConnection, lake: Lake, pattern: str) -> None:
    query = f"SELECT sum(c0) FROM read_parquet('{lake.url(pattern)}', hive_partitioning = true)"
    with opendalfs.trace() as t:
        con.execute(f"{query} WHERE y = 2021 AND m = 1").fetchall()
    assert (t.count("list"), t.count("stat")) == (1, 0)
    # DuckDB takes the schema from the first file, whichever it is.
    others = {f for f in files_read(t) if "y=2021/m=1/" not in f}
    assert others <= {min(f for f in all_files(lake) if f.startswith(pattern.split("/*")[0]))}


def all_files(lake: Lake) -> list[str]:
    return [f.relative_to(lake.local).as_posix() for f in lake.local.rglob("*.parquet")]


def test_a_literal_path_costs_no_list(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with opendalfs.trace() as t:
        con.execute(f"SELECT count(*) FROM '{lake.url('table.csv')}'").fetchall()
    assert (t.count("list"), t.count("stat")) == (0, 1)


@pytest.mark.parametrize("scheme", ["opendal+s3", "s3"])
def test_gzip_is_read_in_large_pieces(con: duckdb.DuckDBPyConnection, lake: Lake, scheme: str) -> None:
    with opendalfs.trace() as t:
        con.execute(f"SELECT count(*) FROM '{lake.url('table.csv.gz', scheme)}'").fetchall()
    assert t.count("stat") <= 1
    assert t.count("read") <= 6


PARQUET = ["full", "two columns", "filter", "many files", "hive"]
TEXT = ["csv", "csv.gz", "json"]


@pytest.mark.services
@pytest.mark.parametrize(
    ("scheme", "shape"),
    [("opendal+s3", shape) for shape in PARQUET] + [("s3", shape) for shape in (*PARQUET, *TEXT)],
)
def test_a_warm_repeat_reads_nothing(lake: Lake, scheme: str, shape: str) -> None:
    lake.wait_until_cacheable()
    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", schemes=("s3",), cache=True, **lake.options)
    root = lake.url("", scheme).rstrip("/")
    harness.answer(con, shape, root)
    with opendalfs.trace() as t:
        assert harness.answer(con, shape, root) == lake.expected[shape]
    con.close()
    assert t.count("read") == 0
    assert t.requests == 1, "one stat or one list to see whether anything changed"


@pytest.mark.services
@pytest.mark.parametrize("shape", TEXT)
def test_text_is_cached_only_where_duckdb_counts_the_scheme_as_remote(lake: Lake, shape: str) -> None:
    """As `register` tells its users; when this fails, DuckDB has become better."""
    lake.wait_until_cacheable()
    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", cache=True, **lake.options)
    root = lake.url("").rstrip("/")
    harness.answer(con, shape, root)
    with opendalfs.trace() as t:
        harness.answer(con, shape, root)
    con.close()
    assert 1 <= t.count("read") <= 2


def test_the_caches_blocks_are_large(lake: Lake) -> None:
    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", cache=True, **lake.options)
    with opendalfs.trace() as t:
        harness.answer(con, "full", lake.url("").rstrip("/"))
    con.close()
    assert t.count("read") <= 20, "with blocks of 16 KiB it would be hundreds"


def test_copy_of_a_new_file(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with opendalfs.trace() as t:
        con.execute(f"COPY (SELECT 1 AS x) TO '{lake.url('new.parquet')}'")
    assert t.count("write") == 1
    assert t.count("list", "copy", "delete", "create_dir") == 0
    assert t.count("stat") <= 4


def test_a_missing_file(con: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    with opendalfs.trace() as t, pytest.raises(duckdb.IOException, match="No files found that match"):
        con.execute(f"FROM '{lake.url('missing.parquet')}'")
    assert t.count("stat") <= 1
    assert t.count("list") <= 1
