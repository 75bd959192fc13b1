"""Registering: names, schemes, caches, clashes; and what only a database file needs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import s3fs

import opendalfs
import opendalfs_duckdb
from opendalfs.testing import S3Server


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    con = duckdb.connect()
    yield con
    con.close()


def one(con: duckdb.DuckDBPyConnection, query: str) -> Any:
    # All rows: DuckDB 2 counts a result that is not read to its end as running.
    [(value,)] = con.execute(query).fetchall()
    return value


def test_the_public_name_is_this_filesystem() -> None:
    fs = opendalfs.duckdb("s3")
    assert isinstance(fs, opendalfs_duckdb.DuckDBFileSystem)
    assert fs.protocol == ("opendal+s3", "opendals3")


def test_duckdb_registers_it_itself(con: duckdb.DuckDBPyConnection) -> None:
    con.register_filesystem(opendalfs.duckdb("memory"))
    con.execute("COPY (SELECT 7 AS x) TO 'opendal+memory://duckdb-reg/a.parquet'")
    assert one(con, "SELECT x FROM 'opendalmemory://duckdb-reg/*.parquet'") == 7
    con.unregister_filesystem("opendal+memory")


def test_every_service(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    opendalfs_duckdb.register(con)
    (tmp_path / "a.csv").write_text("x\n1\n")
    opendalfs.filesystem("memory").pipe_file("duckdb-reg/a.csv", b"x\n2\n")
    assert one(con, f"SELECT x FROM 'opendal+fs://{tmp_path}/a.csv'") == 1
    assert one(con, "SELECT x FROM 'opendal+memory://duckdb-reg/a.csv'") == 2
    assert one(con, f"SELECT x FROM '{tmp_path}/a.csv'") == 1, "a bare path is local"
    with pytest.raises(duckdb.Error, match=r"opendal\+<service>://"):
        con.execute("FROM 'opendal://bucket/a.csv'")
    opendalfs_duckdb.unregister(con, "opendal")


def test_several_names(con: duckdb.DuckDBPyConnection) -> None:
    for name in ("prod", "test"):
        fs = opendalfs.OpendalFileSystem("memory", root=f"/duckdb-{name}")
        fs.pipe_file("data/a.csv", f"x\n{name}\n".encode())
        opendalfs_duckdb.register(con, fs, name=name)
    assert con.list_filesystems() == ["opendal+prod", "opendal+test"]
    query = "SELECT string_agg(x, ' ' ORDER BY x) FROM read_csv(['opendal+prod://data/*.csv', 'opendal+test://data/a.csv'])"
    assert one(con, query) == "prod test"
    con.execute("COPY (SELECT 1 AS x) TO 'opendal+prod://data/b.csv'")
    assert [f for (f,) in con.execute("FROM glob('opendal+prod://**')").fetchall()] == [
        "opendal+prod://data/a.csv",
        "opendal+prod://data/b.csv",
    ]
    opendalfs_duckdb.unregister(con, "prod")
    assert con.list_filesystems() == ["opendal+test"]


def test_a_name_may_begin_below_a_url(con: duckdb.DuckDBPyConnection) -> None:
    opendalfs.filesystem("memory").pipe_file("duckdb-base/deep/a.csv", b"x\n1\n")
    opendalfs_duckdb.register(con, "opendal+memory://duckdb-base/deep", name="lake")
    assert one(con, "SELECT x FROM 'opendal+lake://*.csv'") == 1


def test_two_accounts_of_a_service(con: duckdb.DuckDBPyConnection, s3_server: S3Server, prefix: str) -> None:
    opendalfs.filesystem("s3", **s3_server.options).pipe_file(f"{prefix}/a.csv", b"x\n1\n")
    opendalfs_duckdb.register(con, "s3", name="good", **s3_server.options)
    opendalfs_duckdb.register(con, "s3", name="bad", **{**s3_server.options, "secret": "hush-hush"})
    assert one(con, f"SELECT x FROM 'opendal+good://{prefix}/a.csv'") == 1
    with pytest.raises(duckdb.Error, match="credentials") as told:
        con.execute(f"FROM 'opendal+bad://{prefix}/a.csv'")
    assert "hush-hush" not in str(told.value)


def test_a_cursor_is_served(con: duckdb.DuckDBPyConnection) -> None:
    opendalfs_duckdb.register(con, "memory")
    opendalfs.filesystem("memory").pipe_file("duckdb-reg/c.csv", b"x\n3\n")
    assert one(con.cursor(), "SELECT x FROM 'opendal+memory://duckdb-reg/c.csv'") == 3


def test_caches(con: duckdb.DuckDBPyConnection) -> None:
    def settings() -> dict[str, str]:
        return dict(
            con.execute("SELECT name, value FROM duckdb_settings() WHERE scope = 'GLOBAL'").fetchall()
        )

    before = settings()
    opendalfs_duckdb.register(con, "memory", cache=False)
    assert settings() == before
    opendalfs_duckdb.register(con, "memory", replace=True)
    after = settings()
    assert after["cache_local_files"] == after["parquet_metadata_cache"] == "true"
    assert after["external_file_cache_local_max_block_size"] == str(2 << 20)


def test_registering_leaves_a_result_alone(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("FROM range(100000)")
    assert con.fetchone() == (0,)
    opendalfs_duckdb.register(con, "memory")
    assert con.fetchone() == (1,)


def test_clashes_are_errors(con: duckdb.DuckDBPyConnection) -> None:
    opendalfs_duckdb.register(con, "s3", name="a", schemes=("s3",))
    with pytest.raises(ValueError, match="replace=True"):
        opendalfs_duckdb.register(con, "memory", name="a")
    with pytest.raises(ValueError, match=r"s3:// is already registered"):
        opendalfs_duckdb.register(con, "s3", name="b", schemes=("s3",))
    opendalfs_duckdb.register(con, "s3", name="a", schemes=("s3",), replace=True)
    opendalfs_duckdb.register(con)
    with pytest.raises(ValueError, match=r"opendal\+gcs:// is already registered"):
        opendalfs_duckdb.register(con, "gcs")
    assert con.list_filesystems() == ["opendal", "opendal+a"] or con.list_filesystems() == [
        "opendal+a",
        "opendal",
    ]


# Registering again, as the cell of a notebook does

ROWS = 200_000


def fill(root: str, value: int) -> opendalfs.OpendalFileSystem:
    """Write a file of many row groups below a root in memory, and return the filesystem of that root."""
    fs = opendalfs.OpendalFileSystem("memory", root=f"/{root}")
    rows = f"SELECT {value} AS x, range AS i FROM range({ROWS})"
    with duckdb.connect() as con:
        opendalfs_duckdb.register(con, fs, name="fill")
        con.execute(f"COPY ({rows}) TO 'opendal+fill://a.parquet' (ROW_GROUP_SIZE 2048)")
    return fs


def test_registering_again_serves_the_new_source(con: duckdb.DuckDBPyConnection) -> None:
    first, second = fill("again-first", 1), fill("again-second", 22)
    for source, value in ((first, 1), (first, 1), (second, 22), (second, 22)):
        opendalfs_duckdb.register(con, source, name="lake", replace=True, cache=False)
        assert one(con, "SELECT sum(x) FROM 'opendal+lake://a.parquet'") == value * ROWS
    assert con.list_filesystems() == ["opendal+lake"]


def test_registering_again_with_a_running_cursor_leaves_its_result_alone(
    con: duckdb.DuckDBPyConnection,
) -> None:
    first, second = fill("cursor-first", 1), fill("cursor-second", 22)
    opendalfs_duckdb.register(con, first, name="lake", replace=True)
    with con.cursor() as cursor:
        cursor.execute("SELECT x, i FROM 'opendal+lake://a.parquet'")
        rows = [cursor.fetchone()]
        opendalfs_duckdb.register(con, second, name="lake", replace=True)
        opendalfs_duckdb.register(con, second, name="lake", replace=True)
        rows += cursor.fetchall()
    assert {row[0] for row in rows if row} == {1}
    assert sum(row[1] for row in rows if row) == ROWS * (ROWS - 1) // 2


def test_registering_again_while_queries_run_in_other_threads(con: duckdb.DuckDBPyConnection) -> None:
    """`unregister_filesystem` of DuckDB would free the filesystem that they use, and crash."""
    source = fill("again-threads", 1)
    opendalfs_duckdb.register(con, source, name="lake")

    def query() -> Any:
        with con.cursor() as cursor:
            return one(cursor, "SELECT sum(i) FROM 'opendal+lake://a.parquet'")

    with ThreadPoolExecutor(3) as threads:
        sums = [threads.submit(query) for _ in range(9)]
        while not all(future.done() for future in sums):
            opendalfs_duckdb.register(con, source, name="lake", replace=True)
    assert {future.result() for future in sums} == {ROWS * (ROWS - 1) // 2}


def test_registering_again_after_tables_and_views_of_it_were_used(con: duckdb.DuckDBPyConnection) -> None:
    source = fill("again-views", 1)
    for _ in range(2):
        opendalfs_duckdb.register(con, source, name="lake", replace=True)
        con.execute("CREATE OR REPLACE VIEW v AS FROM 'opendal+lake://a.parquet'")
        con.execute("CREATE OR REPLACE TABLE t AS FROM v LIMIT 10")
        assert one(con, "SELECT count(*) FROM v JOIN t USING (i)") == 10
    relation = con.sql("FROM v")
    opendalfs_duckdb.register(con, source, name="lake", replace=True)
    assert relation.count("*").fetchall() == [(ROWS,)]


def test_registering_again_by_another_connection_or_after_duckdbs_own_call(
    con: duckdb.DuckDBPyConnection,
) -> None:
    con.register_filesystem(opendalfs.duckdb(fill("again-other", 1), name="lake"))
    with con.cursor() as cursor:
        opendalfs_duckdb.register(cursor, fill("again-new", 22), name="lake", replace=True, cache=False)
    assert one(con, "SELECT max(x) FROM 'opendal+lake://a.parquet'") == 22


def test_registering_again_changes_only_the_database_of_the_connection(
    con: duckdb.DuckDBPyConnection,
) -> None:
    first, second = fill("again-here", 1), fill("again-there", 22)
    with duckdb.connect() as other:
        for database in (con, other):
            opendalfs_duckdb.register(database, first, name="lake")
        opendalfs_duckdb.register(other, second, name="lake", replace=True, cache=False)
        assert one(con, "SELECT max(x) FROM 'opendal+lake://a.parquet'") == 1
        assert one(other, "SELECT max(x) FROM 'opendal+lake://a.parquet'") == 22


def test_registering_again_keeps_the_order_of_all_services_and_one(con: duckdb.DuckDBPyConnection) -> None:
    opendalfs.filesystem("memory").pipe_file("duckdb-order/a.csv", b"x\n1\n")
    for _ in range(2):
        opendalfs_duckdb.register(con, "memory", replace=True)
        opendalfs_duckdb.register(con, replace=True)
    assert one(con, "SELECT x FROM 'opendal+memory://duckdb-order/a.csv'") == 1
    assert sorted(con.list_filesystems()) == ["opendal", "opendal+memory"]


def test_registering_again_with_a_mistake_leaves_the_first(con: duckdb.DuckDBPyConnection) -> None:
    opendalfs_duckdb.register(con, fill("again-mistake", 1), name="lake")
    with pytest.raises(ValueError, match="regoin"):
        opendalfs_duckdb.register(con, "s3", name="lake", regoin="x", replace=True)
    with pytest.raises(ValueError, match=r"other URL schemes.*\n?.*unregister"):
        opendalfs_duckdb.register(con, "s3", name="lake", schemes=("s3",), replace=True)
    assert one(con, "SELECT max(x) FROM 'opendal+lake://a.parquet'") == 1


def test_finding_the_registration_sends_no_request(con: duckdb.DuckDBPyConnection) -> None:
    opendalfs_duckdb.register(con, "memory")
    with opendalfs.trace() as trace:
        opendalfs_duckdb.register(con, "memory", replace=True)
    assert trace.requests == 0


def test_another_library_at_the_scheme_is_a_clash(con: duckdb.DuckDBPyConnection) -> None:
    con.register_filesystem(s3fs.S3FileSystem(anon=True))
    with pytest.raises(ValueError, match="is already registered"):
        opendalfs_duckdb.register(con, "s3", schemes=("s3",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "s4"}, "did you mean"),
        ({"source": "s3", "regoin": "x"}, "region"),
        ({"source": "s3", "name": "gcs"}, "is the name of a service"),
        ({"source": "s3", "name": "Big Lake"}, "lower-case"),
        ({"name": "prod"}, "needs a source"),
        ({"source": "s3", "schemes": ("s 3",)}, "is not a URL scheme"),
        ({"schemes": ("lake",)}, "no OpenDAL service"),
    ],
)
def test_mistakes_raise_errors_that_name_them(
    con: duckdb.DuckDBPyConnection, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        opendalfs_duckdb.register(con, **arguments)
    assert con.list_filesystems() == []


def test_wrong_kinds_of_arguments(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(TypeError, match="a tuple of str"):
        opendalfs_duckdb.register(con, "s3", schemes="s3")
    with pytest.raises(TypeError, match="filesystem of opendalfs"):
        opendalfs_duckdb.register(con, s3fs.S3FileSystem(anon=True))
    with pytest.raises(TypeError, match="already has its options"):
        opendalfs_duckdb.register(con, opendalfs.filesystem("memory"), root="/x")


def test_unregistering_what_is_not_there(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ValueError, match="no filesystem 'prod' is registered"):
        opendalfs_duckdb.unregister(con, "prod")


def test_attach(con: duckdb.DuckDBPyConnection, s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    local = duckdb.connect(str(tmp_path / "x.duckdb"))
    local.execute("CREATE TABLE t AS SELECT range AS i, md5(range::VARCHAR) AS s FROM range(200000)")
    local.close()
    core = opendalfs.filesystem("s3", **s3_server.options)
    core.put_file(str(tmp_path / "x.duckdb"), f"{prefix}/x.duckdb")
    opendalfs_duckdb.register(con, core)
    url = f"opendal+s3://{prefix}/x.duckdb"
    con.execute(f"ATTACH '{url}' AS x (READ_ONLY)")
    assert one(con, "SELECT sum(i) FROM x.t") == 19999900000
    assert one(con, "SELECT count(DISTINCT s) FROM x.t") == 200_000
    con.execute("DETACH x")
    with pytest.raises(duckdb.Error, match="READ_ONLY"):
        con.execute(f"ATTACH '{url}' AS x")
    with pytest.raises(duckdb.Error, match="READ_ONLY"):
        con.execute(f"ATTACH 'opendal+s3://{prefix}/new.duckdb' AS y")


def test_modified_has_a_time_zone(s3_server: S3Server, prefix: str) -> None:
    core = opendalfs.filesystem("s3", **s3_server.options)
    core.pipe_file(f"{prefix}/a", b"abc")
    fs = opendalfs.duckdb(core)
    url = f"opendal+s3://{prefix}/a"
    assert abs(fs.modified(url) - datetime.now(UTC)) < timedelta(minutes=5)
    assert fs.size(url) == 3
    assert fs.info(url)["type"] == "file"
    assert fs.isfile(url)
    assert not fs.isdir(url)
    assert fs.isdir(f"opendal+s3://{prefix}")
    assert fs.exists(f"opendal+s3://{prefix}")
    with pytest.raises(FileNotFoundError):
        fs.size(f"{url}b")


def test_directories_of_a_disk(tmp_path: Path) -> None:
    fs = opendalfs.duckdb("fs")
    url = f"opendal+fs://{tmp_path}"
    fs.makedirs(f"{url}/a/b")
    fs.touch(f"{url}/a/b/c")
    assert (tmp_path / "a/b/c").read_bytes() == b""
    assert fs.ls(f"{url}/a/b", detail=False) == [f"{url}/a/b/c"]
    fs.mv(f"{url}/a/b/c", f"{url}/a/b/d")
    (tmp_path / "a/b/e").write_bytes(b"other")
    fs.mv(f"{url}/a/b/d", f"{url}/a/b/e")
    assert (tmp_path / "a/b/e").read_bytes() == b""
    fs.rm(f"{url}/a", recursive=True)
    assert fs.ls(url) == []
    with pytest.raises(PermissionError):
        fs.rm("opendal+fs:///", recursive=True)


def test_a_service_that_cannot_list_says_so(con: duckdb.DuckDBPyConnection, s3_server: S3Server) -> None:
    opendalfs_duckdb.register(con)
    with pytest.raises(duckdb.Error, match="one by one"):
        con.execute(f"FROM '{s3_server.endpoint.replace('http://', 'opendal+http://')}/*.csv'")


def test_a_url_may_name_its_server(con: duckdb.DuckDBPyConnection, s3_server: S3Server) -> None:
    webdav = getattr(s3_server, "webdav_endpoint", None)
    if webdav is None:
        pytest.skip("only SeaweedFS has WebDAV")
    opendalfs.filesystem("webdav", endpoint=webdav).pipe_file("duckdb-webdav/a.csv", b"x\n5\n")
    opendalfs_duckdb.register(con)
    url = f"opendal+webdav://{webdav.partition('://')[2]}/duckdb-webdav"
    assert one(con, f"SELECT x FROM '{url}/*.csv'") == 5
    opendalfs_duckdb.register(con, "webdav", name="dav", endpoint=webdav)
    assert one(con, "SELECT x FROM 'opendal+dav://duckdb-webdav/a.csv'") == 5


def test_a_connection_without_the_registration_takes_the_url_for_a_local_path(
    con: duckdb.DuckDBPyConnection,
) -> None:
    """As the README says where it shows the registration."""
    with pytest.raises(duckdb.IOException, match="No files found that match the pattern"):
        con.sql("SELECT * FROM 'opendal+s3://bucket/x.parquet'")
    with pytest.raises(duckdb.IOException, match="Cannot open file"):
        con.execute("COPY (SELECT 1) TO 'opendal+s3://bucket/x.csv'")
