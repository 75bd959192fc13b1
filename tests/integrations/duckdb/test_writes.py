"""COPY TO: what is published, and what a failed one leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import opendalfs
import opendalfs_duckdb
from opendalfs.testing import S3Server
from opendalfs_duckdb.write_handle import WriteHandle
from tests.effort import pairwise

FORMATS = ("parquet", "csv", "json", "csv.gz")
SCHEMES = ("opendal+s3", "s3")
FAILS = {
    name: f"SELECT CASE WHEN range = {row} THEN error('deliberate') ELSE range END AS i FROM range({rows})"
    for name, row, rows in (("early", 250_000, 300_000), ("late", 2_900_000, 3_000_000))
}


@pytest.fixture
def con(s3_server: S3Server) -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", schemes=("s3",), **s3_server.options)
    yield con
    con.close()


@pytest.fixture
def fs(s3_server: S3Server) -> Any:
    return opendalfs.filesystem("s3", use_listings_cache=False, **s3_server.options)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_round_trip_and_overwrite(con: Any, fs: Any, prefix: str, scheme: str, kind: str) -> None:
    url = f"{scheme}://{prefix}/t.{kind}"
    for rows in (100_000, 10):
        con.execute(f"COPY (SELECT range AS i, 'name ' || range AS s FROM range({rows})) TO '{url}'")
        assert con.execute(f"SELECT count(*), sum(i) FROM '{url}'").fetchone() == (
            rows,
            rows * (rows - 1) // 2,
        )
    assert fs.ls(prefix, detail=False) == [f"{prefix}/t.{kind}"], "nothing else is left"


def test_large_file_goes_up_in_parts(con: Any, fs: Any, prefix: str) -> None:
    url = f"opendal+s3://{prefix}/large.csv"
    with opendalfs.trace() as t:
        con.execute(f"COPY (SELECT range AS i, md5(range::VARCHAR) AS s FROM range(800000)) TO '{url}'")
    assert t.count("write") >= 4, "begin, parts, complete"
    assert con.execute(f"SELECT count(*), sum(i) FROM '{url}'").fetchone() == (800_000, 319999600000)


def test_partitions(con: Any, fs: Any, prefix: str) -> None:
    url = f"opendal+s3://{prefix}/parts"
    table = "(SELECT range AS i, range % 3 AS p FROM range({rows}))"

    def count() -> Any:
        query = f"SELECT count(*), count(DISTINCT p) FROM read_parquet('{url}/**/*.parquet')"
        return con.execute(query).fetchone()

    options = "FORMAT parquet, PARTITION_BY p"
    con.execute(f"COPY {table.format(rows=300)} TO '{url}' ({options})")
    assert count() == (300, 3)
    with pytest.raises(duckdb.IOException, match="not empty"):
        con.execute(f"COPY {table.format(rows=30)} TO '{url}' ({options})")
    con.execute(f"COPY {table.format(rows=30)} TO '{url}' ({options}, APPEND)")
    assert count() == (330, 3)
    con.execute(f"COPY {table.format(rows=60)} TO '{url}' ({options}, OVERWRITE)")
    assert count() == (60, 3)
    con.execute(f"COPY {table.format(rows=90)} TO '{url}' ({options}, OVERWRITE_OR_IGNORE)")
    assert count() == (90, 3)
    assert all(not name.endswith("/") for name in fs.find(prefix)), "no markers for directories"


@pytest.mark.parametrize(
    "options", ["FORMAT parquet, PER_THREAD_OUTPUT", "FORMAT csv, FILE_SIZE_BYTES '500KB'"]
)
def test_many_outputs(con: Any, prefix: str, options: str) -> None:
    url = f"opendal+s3://{prefix}/out"
    con.execute(f"COPY (SELECT range AS i FROM range(300000)) TO '{url}' ({options})")
    assert con.execute(
        f"SELECT count(*), sum(i) FROM '{url}/*.{options.split()[1].strip(',')}'"
    ).fetchone() == (300_000, 44999850000)


@pytest.mark.parametrize(("scheme", "kind", "fails"), pairwise(SCHEMES, FORMATS, FAILS))
def test_a_failed_copy_leaves_no_new_object(
    con: Any, fs: Any, prefix: str, scheme: str, kind: str, fails: str
) -> None:
    with opendalfs.trace() as t, pytest.raises(duckdb.Error, match="deliberate"):
        con.execute(f"COPY ({FAILS[fails]}) TO '{scheme}://{prefix}/new.{kind}'")
    assert fs.find(prefix) == []
    if kind == "parquet" and fails == "early":
        assert t.count("write") == 0, "not even for a moment"


@pytest.mark.parametrize(("scheme", "kind", "fails"), pairwise(SCHEMES, FORMATS, FAILS))
def test_a_failed_copy_leaves_the_old_object(
    con: Any, fs: Any, prefix: str, scheme: str, kind: str, fails: str
) -> None:
    con.execute(f"COPY (SELECT 42 AS i) TO '{scheme}://{prefix}/old.{kind}'")
    before = fs.cat_file(f"{prefix}/old.{kind}")
    with pytest.raises(duckdb.Error, match="deliberate"):
        con.execute(f"COPY ({FAILS[fails]}) TO '{scheme}://{prefix}/old.{kind}'")
    assert fs.cat_file(f"{prefix}/old.{kind}") == before
    assert fs.find(prefix) == [f"{prefix}/old.{kind}"]


@pytest.mark.parametrize(
    ("scheme", "kind", "options", "mode"),
    pairwise(
        SCHEMES,
        ["parquet", "csv", "json"],
        ["PER_THREAD_OUTPUT", "PARTITION_BY p", "FILE_SIZE_BYTES '100MB'"],
        ["OVERWRITE_OR_IGNORE", "APPEND"],
    ),
)
def test_a_failed_copy_leaves_the_old_objects_of_a_folder(
    con: Any, fs: Any, prefix: str, scheme: str, kind: str, options: str, mode: str
) -> None:
    copy = f"TO '{scheme}://{prefix}/old' (FORMAT {kind}, {options}, {mode})"
    con.execute(f"COPY (SELECT 42 AS i, 'x' AS p) {copy}")
    before = fs.cat(fs.find(prefix))
    with pytest.raises(duckdb.Error, match="deliberate"):
        con.execute(f"COPY (SELECT i, 'x' AS p FROM ({FAILS['late']})) {copy}")
    assert fs.cat(fs.find(prefix)) == before


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_duckdb_writes_full_buffers_only_before_the_end_of_text(
    con: Any, prefix: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed COPY never makes the small write that ends a whole file."""
    sizes: list[int] = []

    def write(handle: WriteHandle, data: bytes) -> int:
        sizes.append(len(data))
        return len(data)

    monkeypatch.setattr(WriteHandle, "write", write)
    with pytest.raises(duckdb.Error, match="deliberate"):
        con.execute(f"COPY ({FAILS['late']}) TO 's3://{prefix}/new.{kind}'")
    assert sizes
    assert min(sizes) >= 8 << 20


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.json", b"x" * (8 << 20) + b"\n"), ("a.csv.zst", b"\x28\xb5\x2f\xfd...")],
    ids=["full buffer", "zstd"],
)
def test_text_that_may_be_cut_short_replaces_no_object(fs: Any, prefix: str, name: str, data: bytes) -> None:
    files = opendalfs_duckdb.DuckDBFileSystem(fs)
    fs.pipe_file(f"{prefix}/{name}", b"old")
    handle = files.open(f"opendal+s3://{prefix}/{name}", "wb")
    handle.write(data)
    with pytest.raises(OSError, match="Remove the object first"):
        handle.close()
    assert fs.cat_file(f"{prefix}/{name}") == b"old"
    new = files.open(f"opendal+s3://{prefix}/new-{name}", "wb")
    new.write(data)
    new.close()
    assert fs.cat_file(f"{prefix}/new-{name}") == data


def test_an_array_of_json_that_threads_copy_in_order(con: Any, fs: Any, prefix: str) -> None:
    con.execute("CREATE TABLE t AS SELECT range AS i, md5(range::VARCHAR) AS s FROM range(2000000)")
    url = f"s3://{prefix}/old.json"
    con.execute(f"COPY (SELECT 42 AS i) TO '{url}' (ARRAY true)")
    before = fs.cat_file(f"{prefix}/old.json")
    with pytest.raises(duckdb.Error, match="deliberate"):
        con.execute(
            "COPY (SELECT s, CASE WHEN i = 1900000 THEN error('deliberate') ELSE i END AS i FROM t) "
            f"TO '{url}' (ARRAY true)"
        )
    assert fs.cat_file(f"{prefix}/old.json") == before


def test_text_that_is_meant_to_have_no_end(con: Any, fs: Any, prefix: str) -> None:
    options = "(HEADER false, PREFIX '<', SUFFIX '>')"
    for scheme in ("s3", "opendal+s3", "opendal+s3"):
        con.execute(f"COPY (SELECT 1) TO '{scheme}://{prefix}/a.csv' {options}")
        assert fs.cat_file(f"{prefix}/a.csv") == b"<1>"
    with pytest.raises(duckdb.Error, match="Remove the object first"):
        con.execute(f"COPY (SELECT 2) TO 's3://{prefix}/a.csv' {options}")
    assert fs.cat_file(f"{prefix}/a.csv") == b"<1>"


def test_nothing_over_something_is_an_error_rather_than_a_guess(con: Any, fs: Any, prefix: str) -> None:
    empty = "COPY (SELECT 1 AS i WHERE false) TO"
    con.execute(f"{empty} 's3://{prefix}/new.json'")
    assert fs.cat_file(f"{prefix}/new.json") == b""
    fs.pipe_file(f"{prefix}/old.json", b'{"i":1}\n')
    with pytest.raises(duckdb.Error, match="Remove the object first"):
        con.execute(f"{empty} 's3://{prefix}/old.json'")
    assert fs.cat_file(f"{prefix}/old.json") == b'{"i":1}\n'
    con.execute(f"{empty} 'opendal+s3://{prefix}/old.json'")
    assert fs.cat_file(f"{prefix}/old.json") == b""
    fs.pipe_file(f"{prefix}/old.csv.gz", b"not empty")
    with pytest.raises(duckdb.Error, match="Remove the object first"):
        con.execute(f"{empty} 's3://{prefix}/old.csv.gz' (HEADER false)")
    assert fs.cat_file(f"{prefix}/old.csv.gz") == b"not empty"


@pytest.mark.parametrize("rows", [10, 3_000_000])
def test_a_write_that_storage_refuses(con: Any, rows: int) -> None:
    with pytest.raises(duckdb.Error, match="No such bucket"):
        con.execute(f"COPY (SELECT range AS i FROM range({rows})) TO 'opendal+s3://no-such-bucket-1/a.csv'")


def test_other_writers_see_no_part_of_it(con: Any, fs: Any, prefix: str) -> None:
    handle = opendalfs_duckdb.DuckDBFileSystem(fs).open(f"opendal+s3://{prefix}/a.parquet", "wb")
    handle.write(b"PAR1\x15" + bytes(9_000_000))
    assert not fs.exists(f"{prefix}/a.parquet", refresh=True)
    with pytest.raises(OSError, match="is incomplete"):
        handle.close()
    handle.close()
    assert not fs.exists(f"{prefix}/a.parquet", refresh=True)


def test_to_remove_what_is_being_written_gives_up_the_write(fs: Any, prefix: str) -> None:
    """DuckDB 1.5 removes a file after a failure, though it was there before."""
    url = f"opendal+s3://{prefix}/a.csv"
    fs.pipe_file(f"{prefix}/a.csv", b"x\n1\n")
    ours = opendalfs_duckdb.DuckDBFileSystem(fs)
    handle = ours.open(url, "wb")
    handle.write(b"x\n2\n")
    ours.rm(url)
    with pytest.raises(OSError, match="Not published"):
        handle.close()
    assert fs.cat_file(f"{prefix}/a.csv") == b"x\n1\n"
    ours.rm(url)
    assert not fs.exists(f"{prefix}/a.csv", refresh=True)


def test_the_size_of_a_new_file_that_is_being_written(fs: Any, prefix: str) -> None:
    """DuckDB 1.5 asks for it with FILE_SIZE_BYTES, and both for a log in a file."""
    ours = opendalfs_duckdb.DuckDBFileSystem(fs)
    fs.pipe_file(f"{prefix}/old.csv", b"x\n")
    old = ours.open(f"opendal+s3://{prefix}/old.csv", "wb")
    new = ours.open(f"opendal+s3://{prefix}/new.csv", "wb")
    for handle in (old, new):
        handle.write(b"x\n1\n2\n")
    assert ours.size(f"opendal+s3://{prefix}/new.csv") == 6
    assert ours.size(f"opendal+s3://{prefix}/old.csv") == 2, "readers read what is there"


def test_listings_of_the_source_stay_right(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    fs.pipe_file(f"{prefix}/a.csv", b"x\n1\n")
    assert len(fs.ls(prefix)) == 1
    con = duckdb.connect()
    opendalfs_duckdb.register(con, fs)
    con.execute(f"COPY (SELECT 1 AS x) TO 'opendal+s3://{prefix}/b.csv'")
    con.close()
    assert len(fs.ls(prefix)) == 2


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_database_is_exported_and_imported(con: Any, fs: Any, prefix: str, scheme: str) -> None:
    """DuckDB does not close ``schema.sql`` and ``load.sql``."""
    con.execute("CREATE TABLE t AS SELECT range AS i FROM range(10)")
    for _ in range(2):
        con.execute(f"EXPORT DATABASE '{scheme}://{prefix}/all' (FORMAT parquet)")
    names = [name.rpartition("/")[2] for name in fs.find(prefix)]
    assert names == ["load.sql", "schema.sql", "t.parquet"]
    con.execute("DROP TABLE t")
    con.execute(f"IMPORT DATABASE '{scheme}://{prefix}/all'")
    assert con.execute("SELECT count(*), sum(i) FROM t").fetchone() == (10, 45)


@pytest.mark.parametrize("service", ["memory", "fs"])
def test_other_services(tmp_path: Path, service: str) -> None:
    root = f"{tmp_path}/d" if service == "fs" else "duckdb-writes"
    con = duckdb.connect()
    opendalfs_duckdb.register(con)
    url = f"opendal+{service}://{root}"
    for kind in FORMATS:
        for rows in (1000, 10):
            con.execute(f"COPY (SELECT range AS i FROM range({rows})) TO '{url}/t.{kind}'")
            assert con.execute(f"SELECT count(*) FROM '{url}/t.{kind}'").fetchone() == (rows,)
        with pytest.raises(duckdb.Error, match="deliberate"):
            con.execute(f"COPY ({FAILS['early']}) TO '{url}/t.{kind}'")
        assert con.execute(f"SELECT count(*) FROM '{url}/t.{kind}'").fetchone() == (10,)
    con.execute(
        f"COPY (SELECT range % 2 AS p, range AS i FROM range(10)) TO '{url}/h' (FORMAT csv, PARTITION_BY p)"
    )
    assert con.execute(f"SELECT count(*) FROM '{url}/h/**/*.csv'").fetchone() == (10,)
    con.close()
