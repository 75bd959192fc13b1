"""Real programs that read and write S3 only, over services that are not S3, and over S3.

They are not among the dependencies of the other tests: ``make tools`` installs them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from benchmarks.httpfs import Httpfs
from opendalfs_gateway import S3Endpoint
from tests.integrations.serve.client import client_of
from tests.integrations.serve.places import NAMES, open_place

pytestmark = pytest.mark.tools

COMMITS = 10
ROWS = 1000
LISTING = [name for name in NAMES if name != "sqlite"]
"""OpenDAL cannot list what is in a table of sqlite, and a table format must list its versions."""

TABLE = pa.table({"x": list(range(ROWS)), "word": ["abc", "defgh"] * (ROWS // 2)})


def served(name: str, request: pytest.FixtureRequest, folder: Path) -> S3Endpoint:
    fs, root = open_place(name, request.getfixturevalue, folder)
    return opendalfs.serve(fs, path=root, writable=True)


@pytest.fixture(params=NAMES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Endpoint]:
    with served(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture(params=LISTING)
def listing_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Endpoint]:
    with served(request.param, request, tmp_path) as found:
        yield found


@pytest.fixture
def file(server: S3Endpoint) -> str:
    """Return the URL of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE, sink, row_group_size=ROWS // 4)
    client_of(server).put_object(
        Bucket=server.bucket, Key="data/t.parquet", Body=sink.getvalue().to_pybytes()
    )
    return f"{server.url}data/t.parquet"


def part(number: int) -> pa.Table:
    return pa.table({"writer": [number] * 5, "x": [1, 2, 3, 4, 5]})


def at_once(work: object) -> None:
    barrier = threading.Barrier(2)

    def run(number: int) -> None:
        barrier.wait()
        for _ in range(COMMITS):
            work(number)  # type: ignore[operator]

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(run, range(2)))


def test_delta_lake_loses_no_commit_of_two_writers(listing_server: S3Endpoint) -> None:
    from deltalake import DeltaTable, write_deltalake

    url, options = f"{listing_server.url}delta", listing_server.storage_options()
    write_deltalake(url, part(9), storage_options=options)
    write_deltalake(url, part(8), mode="append", storage_options=options)
    at_once(lambda number: write_deltalake(url, part(number), mode="append", storage_options=options))
    table = DeltaTable(url, storage_options=options)
    assert table.version() == 1 + 2 * COMMITS
    found = table.to_pyarrow_table()
    written = sorted(found["writer"].to_pylist())
    assert written == [0] * 5 * COMMITS + [1] * 5 * COMMITS + [8] * 5 + [9] * 5
    old = DeltaTable(url, version=0, storage_options=options).to_pyarrow_table()
    assert old["writer"].to_pylist() == [9] * 5
    table.load_as_version(1)
    assert table.to_pyarrow_table().num_rows == 10


def test_delta_lake_reads_from_a_read_only_server(listing_server: S3Endpoint) -> None:
    from deltalake import DeltaTable, write_deltalake

    write_deltalake(f"{listing_server.url}delta", part(1), storage_options=listing_server.storage_options())
    directory = listing_server._directory
    with opendalfs.serve(directory.filesystem, path=directory.root) as reading:
        options = reading.storage_options()
        assert DeltaTable(f"{reading.url}delta", storage_options=options).to_pyarrow_table().num_rows == 5
        with pytest.raises(Exception, match="writable=True"):
            write_deltalake(f"{reading.url}delta", part(2), mode="append", storage_options=options)


def test_lance_loses_no_commit_of_two_writers(listing_server: S3Endpoint) -> None:
    import lance

    url, options = f"{listing_server.url}t.lance", listing_server.storage_options()
    lance.write_dataset(part(9), url, storage_options=options)
    at_once(lambda number: lance.write_dataset(part(number), url, mode="append", storage_options=options))
    found = lance.dataset(url, storage_options=options)
    assert found.version == 1 + 2 * COMMITS
    written = sorted(found.to_table()["writer"].to_pylist())
    assert written == [0] * 5 * COMMITS + [1] * 5 * COMMITS + [9] * 5
    assert lance.dataset(url, version=1, storage_options=options).to_table()["writer"].to_pylist() == [9] * 5


def test_datafusion_queries(server: S3Endpoint, file: str) -> None:
    from datafusion import SessionContext
    from datafusion.object_store import AmazonS3

    context = SessionContext()
    context.register_object_store("s3://", AmazonS3(**server.storage_options("datafusion")), None)
    context.register_parquet("t", file)
    rows = context.sql("SELECT sum(x) AS x FROM t WHERE word = 'abc'").to_pylist()
    assert rows == [{"x": sum(range(0, ROWS, 2))}]


def test_daft_reads_and_writes(server: S3Endpoint, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DO_NOT_TRACK", "SCARF_NO_ANALYTICS"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("DAFT_ANALYTICS_ENABLED", "0")
    import daft
    from daft.io import IOConfig, S3Config

    config = IOConfig(s3=S3Config(**server.storage_options("daft")))
    frame = daft.read_parquet(file, io_config=config)
    assert frame.where(daft.col("word") == "abc").sum("x").to_pydict() == {"x": [sum(range(0, ROWS, 2))]}
    written = frame.write_parquet(f"{server.url}daft", io_config=config).to_pydict()
    [path] = written["path"]
    path = path if "://" in path else f"s3://{path}"
    assert daft.read_parquet(path, io_config=config).count_rows() == ROWS


class Secret:
    """What `Httpfs` asks of a storage."""

    def __init__(self, server: S3Endpoint) -> None:
        self._server = server

    def duckdb(self) -> str:
        return self._server.duckdb_secret()


def test_httpfs_of_duckdb_reads_and_writes(server: S3Endpoint, file: str) -> None:
    with Httpfs(Secret(server)) as duckdb:  # type: ignore[arg-type]
        assert duckdb.version.startswith("1.5")
        [[total]] = duckdb.query(f"SELECT sum(x) FROM '{file}' WHERE word = 'abc'").outcome
        assert int(total) == sum(range(0, ROWS, 2))
        target = f"{server.url}written/t.parquet"
        duckdb.query(f"COPY (SELECT range AS x, repeat('y', 100) AS y FROM range(300_000)) TO '{target}'")
        [[count]] = duckdb.query(f"SELECT count(*) FROM '{target}'").outcome
        assert int(count) == 300_000


def test_httpfs_of_duckdb_finds_files_by_a_pattern(listing_server: S3Endpoint) -> None:
    with Httpfs(Secret(listing_server)) as duckdb:  # type: ignore[arg-type]
        for i in range(3):
            duckdb.query(f"COPY (SELECT {i} AS x) TO '{listing_server.url}many/{i}.parquet'")
        rows = duckdb.query(f"SELECT x FROM '{listing_server.url}many/*.parquet' ORDER BY x").outcome
        assert rows == [["0"], ["1"], ["2"]]


def test_httpfs_of_duckdb_cannot_write_to_a_read_only_server(tmp_path: Path) -> None:
    with (
        opendalfs.serve(str(tmp_path)) as reading,
        Httpfs(Secret(reading)) as duckdb,  # type: ignore[arg-type]
        pytest.raises(RuntimeError, match="403"),
    ):
        duckdb.query(f"COPY (SELECT 1 AS x) TO '{reading.url}a.parquet'")
    assert os.listdir(tmp_path) == []


def test_gdal_reads(listing_server: S3Endpoint) -> None:
    import pyogrio

    text = (
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "a"}, '
        '"geometry": {"type": "Point", "coordinates": [1, 2]}}]}'
    )
    client_of(listing_server).put_object(Bucket=listing_server.bucket, Key="p.geojson", Body=text.encode())
    options = listing_server.storage_options("gdal")
    pyogrio.set_gdal_config_options(options)
    try:
        info = pyogrio.read_info(f"/vsis3/{listing_server.bucket}/p.geojson")
    finally:
        pyogrio.set_gdal_config_options(dict.fromkeys(options))
    assert info["features"] == 1
