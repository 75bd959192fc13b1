"""The error that a DuckDB user reads is our message, without a traceback before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import opendalfs
import opendalfs_duckdb
from opendalfs.testing import Response, ScriptedServer

HEADER = "Traceback (most recent call last):"
"""nanobind writes this line before the text of every exception that comes from Python, frames or none."""

DENIED = b"<Error><Code>AccessDenied</Code></Error>"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    found = duckdb.connect()
    yield found
    found.close()


def lines_of(error: pytest.ExceptionInfo[duckdb.Error]) -> list[str]:
    """Lines of an error, without the header that cannot be avoided."""
    return str(error.value).removeprefix(f"{HEADER}\n").splitlines()


@pytest.mark.parametrize(
    "query",
    [
        "FROM 'opendal+s3://lake/a.parquet'",
        "FROM 'opendal+s3://lake/*.parquet'",
        "COPY (SELECT 1 AS a) TO 'opendal+s3://lake/a.csv'",
        "ATTACH 'opendal+s3://lake/a.db' AS lake (READ_ONLY)",
    ],
)
def test_denied_access(con: duckdb.DuckDBPyConnection, query: str) -> None:
    with ScriptedServer(lambda request: Response(403, body=DENIED)) as server:
        opendalfs_duckdb.register(
            con, "s3", endpoint_url=server.endpoint, key="k", secret="very-secret", region="r", retries=0
        )
        with pytest.raises(duckdb.Error) as error:
            con.execute(query).fetchall()
    lines = lines_of(error)
    assert "PermissionError: [Errno 13] Access denied: check the credentials" in lines[0]
    assert lines[1].startswith("Credentials: options access_key_id, secret_access_key.")
    assert lines[2].startswith("Path: 'lake")
    assert "very-secret" not in "".join(lines)


@pytest.mark.parametrize(
    ("query", "starts"),
    [
        ("FROM 'opendal+s3://a b/a.parquet'", "ValueError: 'a b' is not a valid name"),
        ("FROM 'opendal+s3:///a.parquet'", "ValueError: 'opendal+s3:///a.parquet' does not name a bucket"),
        ("FROM 'opendal+azblob://lake/a.parquet'", "OptionError: "),
        ("FROM 'opendal://lake/a.parquet'", "ValueError: 'opendal://lake/a.parquet' does not name a service"),
        (
            "ATTACH 'opendal+memory://lake/a.db' AS lake",
            "UnsupportedError: opendal+memory://lake/a.db: objects cannot be changed in place",
        ),
    ],
)
def test_urls_and_options_that_mean_nothing(con: duckdb.DuckDBPyConnection, query: str, starts: str) -> None:
    opendalfs_duckdb.register(con)
    with pytest.raises(duckdb.Error) as error:
        con.execute(query).fetchall()
    assert lines_of(error)[0].startswith(starts)


def test_a_missing_file_is_what_duckdb_itself_says(con: duckdb.DuckDBPyConnection) -> None:
    opendalfs_duckdb.register(con, "memory")
    with pytest.raises(duckdb.IOException, match=r"^IO Error: No files found that match the pattern"):
        con.execute("FROM 'opendal+memory://lake/missing.parquet'")


def test_a_copy_that_cannot_be_published(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    opendalfs_duckdb.register(con, "fs")
    (tmp_path / "a.csv" / "file").mkdir(parents=True)
    with pytest.raises(duckdb.Error) as error:
        con.execute(f"COPY (SELECT 1 AS a) TO 'opendal+fs://{tmp_path}/a.csv' (FORMAT csv)")
    assert lines_of(error)[0].startswith("IsADirectoryError: ")
    assert "File " not in str(error.value)


def test_a_read_in_a_thread_of_duckdb(con: duckdb.DuckDBPyConnection) -> None:
    fs = opendalfs.filesystem("memory")
    opendalfs_duckdb.register(con, fs, cache=False)
    url = "opendal+memory://duckdb-errors/a.parquet"
    con.execute(f"COPY (SELECT range AS i FROM range(100000)) TO '{url}' (ROW_GROUP_SIZE 2048)")
    con.execute("SET threads = 1")
    result = con.execute(f"SELECT i FROM '{url}'")
    result.fetchmany(1)
    fs.pipe_file(url, b"another one")
    with pytest.raises(duckdb.Error) as error:
        result.fetchall()
    assert lines_of(error)[0].startswith("ChangedError: [Errno 116] The object changed")


def test_without_a_registration_duckdb_takes_our_urls_for_local_files(con: duckdb.DuckDBPyConnection) -> None:
    """As the README says; the errors cannot name what is missing, as nothing of ours is asked."""
    url = "opendal+s3://lake/a.parquet"
    with pytest.raises(duckdb.IOException, match="No files found that match the pattern"):
        con.execute(f"FROM '{url}'")
    with pytest.raises(duckdb.IOException, match="No such file or directory"):
        con.execute(f"COPY (SELECT 1 AS a) TO '{url}'")
