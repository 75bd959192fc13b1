"""Each engine reads and writes with keys of a provider that expire while it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
import opendalfs_duckdb
import opendalfs_polars
from opendalfs.testing import S3Server, ScriptedServer
from tests.credentials.expiring import Keys

ROWS = 20_000


@pytest.fixture
def keys(s3_server: S3Server) -> Keys:
    return Keys(s3_server, most=10**9)


@pytest.fixture
def options(keys: Keys) -> Iterator[dict[str, Any]]:
    with ScriptedServer(keys.respond) as server:
        yield keys.options(server)


@pytest.fixture
def path(s3_server: S3Server, prefix: str) -> str:
    name = f"{prefix}/{uuid4().hex}.parquet"
    table = pa.table({f"c{i}": [float(i)] * ROWS for i in range(4)})
    pq.write_table(table, name, row_group_size=2000, filesystem=opendalfs.arrow("s3", **s3_server.options))
    return name


def test_arrow(keys: Keys, options: dict[str, Any], path: str) -> None:
    arrow = opendalfs.arrow("s3", **options)
    for i in range(4):
        keys.expire()
        assert pq.read_table(path, columns=[f"c{i}"], filesystem=arrow).num_rows == ROWS
    keys.expire()
    pq.write_table(pa.table({"a": [1]}), f"{path}.new.parquet", filesystem=arrow)
    assert pq.read_table(f"{path}.new.parquet", filesystem=arrow).num_rows == 1
    assert keys.issued == 5


def test_duckdb(keys: Keys, options: dict[str, Any], path: str) -> None:
    with duckdb.connect() as connection:
        opendalfs_duckdb.register(connection, "s3", **options)
        for i in range(4):
            keys.expire()
            query = f"SELECT count(*), sum(c{i}) FROM 'opendal+s3://{path}'"
            assert connection.sql(query).fetchall() == [(ROWS, float(i * ROWS))]
        keys.expire()
        connection.sql(f"COPY (SELECT 1 AS a) TO 'opendal+s3://{path}.new.parquet' (FORMAT parquet)")
        assert connection.sql(f"FROM 'opendal+s3://{path}.new.parquet'").fetchall() == [(1,)]
    assert keys.issued == 5


def test_polars(keys: Keys, options: dict[str, Any], path: str) -> None:
    provider = options.pop("credential_provider")

    def polars_provider() -> tuple[dict[str, str], int | None]:
        found, expiry = provider()
        names = {"key": "aws_access_key_id", "secret": "aws_secret_access_key", "token": "aws_session_token"}
        return {names[name]: value for name, value in found.items()}, expiry

    for i in range(4):
        keys.expire()
        frame = opendalfs_polars.scan_parquet(
            f"opendal+s3://{path}", storage_options=options, credential_provider=polars_provider
        )
        assert frame.select(pl.col(f"c{i}").sum()).collect().item() == float(i * ROWS)
    keys.expire()
    opendalfs_polars.write_parquet(
        pl.DataFrame({"a": [1]}),
        f"opendal+s3://{path}.new.parquet",
        storage_options={**options, "credential_provider": polars_provider},
    )
    target = opendalfs_polars.target(
        f"opendal+s3://{path}.new.parquet", {**options, "credential_provider": polars_provider}
    )
    assert (target.backend, target.reason) == (
        "gateway",
        "opendalfs renews the credentials of the credential_provider",
    )
    assert pl.read_parquet(target.source, storage_options=target.storage_options).item() == 1
    assert keys.issued == 5
