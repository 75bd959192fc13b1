"""The block of each tool in docs/tools.md, run with the real package over S3."""

from __future__ import annotations

import gzip
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs import S3FileSystem
from opendalfs.testing import S3Server
from tests.tools.conftest import ORDERS
from tests.tools.page import BLOCKS, run

# The import of some of these takes long on a busy machine.
pytestmark = [pytest.mark.tools, pytest.mark.timeout(400)]

KEYS = ORDERS["o_orderkey"].to_pylist()
U = "opendal+s3://my-bucket"


def test_each_block_has_a_test() -> None:
    tested = Path(__file__).read_text()
    assert len(BLOCKS) > 15
    assert not [name for name in BLOCKS if f'run("{name}")' not in tested]


def test_pandas(lake: S3FileSystem) -> None:
    import pandas as pd

    assert run("pandas")["orders"]["o_orderkey"].tolist() == KEYS
    assert gzip.decompress(lake.cat_file("my-bucket/orders.csv.gz")) == b"o_orderkey\n1\n2\n3\n"
    frame = ORDERS.to_pandas()
    frame.to_parquet(f"{U}/parts", partition_cols=["o_comment"])
    assert pd.read_parquet(f"{U}/parts", filters=[("o_comment", "=", "b")])["o_orderkey"].tolist() == [2]
    for write, read, name in (
        (frame.to_pickle, pd.read_pickle, "frame.pickle"),
        (frame.to_feather, pd.read_feather, "frame.feather"),
        (frame.to_json, pd.read_json, "frame.json"),
    ):
        write(f"{U}/{name}")
        assert read(f"{U}/{name}").equals(frame), name


def test_datasets(lake: S3FileSystem, s3_server: S3Server, tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    assert run("Hugging Face datasets")["orders"]["o_orderkey"][:] == KEYS
    options = dict(s3_server.options)
    for _ in range(2):
        [found] = datasets.load_dataset(
            "parquet", data_files=f"{U}/*.parquet", cache_dir=str(tmp_path), storage_options=options
        ).values()
        assert "hf" in options
        found.save_to_disk(f"{U}/again", storage_options=options)
    assert datasets.load_from_disk(f"{U}/again", storage_options=options)["o_orderkey"][:] == KEYS
    streamed = datasets.load_dataset(
        "parquet", data_files=f"{U}/orders.parquet", streaming=True, storage_options=options
    )
    assert [row["o_orderkey"] for row in streamed["train"]] == KEYS
    builder = datasets.load_dataset_builder(
        "parquet", data_files=f"{U}/orders.parquet", cache_dir=str(tmp_path), storage_options=options
    )
    builder.download_and_prepare(f"{U}/prepared", file_format="parquet", storage_options=options)
    [file] = lake.glob("my-bucket/prepared/*.parquet")
    assert pq.read_table(file, filesystem=lake)["o_orderkey"].to_pylist() == KEYS


# ibis calls DuckDB and pandas in ways that are deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ibis(lake: S3FileSystem) -> None:
    import ibis

    names = run("ibis")
    try:
        orders = names["orders"]
        assert orders.filter(orders.o_comment == "b").o_orderkey.execute().tolist() == [2]
        assert pq.read_table("my-bucket/copy.parquet", filesystem=lake).num_rows == len(KEYS)
    finally:
        names["con"].disconnect()
    con = ibis.duckdb.connect()
    con.register_filesystem(opendalfs.duckdb("s3"))
    assert con.read_parquet(f"{U}/orders.parquet").count().execute() == len(KEYS)
    con.disconnect()


# fastparquet sets an option of pandas that is deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fastparquet(lake: S3FileSystem) -> None:
    import fastparquet

    assert run("fastparquet")["orders"]["o_orderkey"].tolist() == KEYS
    fastparquet.write(
        "my-bucket/hive",
        ORDERS.to_pandas(),
        file_scheme="hive",
        partition_on=["o_comment"],
        open_with=lake.open,
        mkdirs=lambda _: None,
    )
    found = fastparquet.ParquetFile("my-bucket/hive", fs=lake).to_pandas(columns=["o_orderkey"])
    assert sorted(found["o_orderkey"]) == KEYS


@pytest.fixture
def geojson(lake: S3FileSystem) -> None:
    lake.pipe_file(
        "my-bucket/places.geojson",
        b'{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "a"}, '
        b'"geometry": {"type": "Point", "coordinates": [1, 2]}}]}',
    )


@pytest.mark.usefixtures("geojson")
def test_geopandas() -> None:
    names = run("geopandas")
    assert names["places"].geometry.x.tolist() == [1.0]
    assert names["also"]["name"].tolist() == ["a"]


def test_datafusion(lake: S3FileSystem) -> None:
    names = run("DataFusion")
    assert names["count"] == [{"n": len(KEYS)}]
    rows = names["context"].sql("SELECT o_comment FROM orders WHERE o_orderkey > 2").to_pylist()
    assert rows == [{"o_comment": "c"}]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_dlt(lake: S3FileSystem) -> None:
    from dlt.sources.filesystem import filesystem, read_parquet

    names = run("dlt")
    names["pipeline"].run([{"o_orderkey": 2}], table_name="orders", loader_file_format="parquet")
    files = lake.glob("my-bucket/lake/raw/orders/*.parquet")
    found = [pq.read_table(file, filesystem=lake)["o_orderkey"].to_pylist() for file in files]
    assert sorted(found) == [[1], [2]]
    source = filesystem(bucket_url=U, file_glob="orders/*.parquet") | read_parquet()
    assert [row["o_orderkey"] for row in source] == KEYS


def test_intake(lake: S3FileSystem) -> None:
    assert run("Intake")["orders"]["o_orderkey"].tolist() == KEYS


def test_pyiceberg(lake: S3FileSystem) -> None:
    """tests/integrations/arrow/test_iceberg.py has more."""
    catalog = run("pyiceberg")["catalog"]
    iceberg(catalog)
    catalog.close()


def test_fsspec_file_io_of_pyiceberg(lake: S3FileSystem, tmp_path: Path) -> None:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.io.fsspec import FsspecFileIO

    properties = run("pyiceberg's FsspecFileIO")["properties"]
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", **properties)
    assert isinstance(iceberg(catalog), FsspecFileIO)
    assert lake.find("my-bucket/iceberg") == []
    catalog.close()


def iceberg(catalog: Any) -> Any:
    """Create a table, append to it, read it, delete a row and purge it; return its FileIO."""
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.orders", schema=ORDERS.schema)
    table.append(ORDERS)
    table.append(ORDERS)
    assert table.scan(row_filter="o_orderkey >= 2").to_arrow().num_rows == 4
    table.delete("o_orderkey = 1")
    assert sorted(table.scan().to_arrow()["o_orderkey"].to_pylist()) == [2, 2, 3, 3]
    catalog.purge_table("shop.orders")
    return table.io


def test_xarray(lake: S3FileSystem, s3_server: S3Server) -> None:
    import xarray as xr

    names = run("xarray")
    assert names["again"].load().identical(names["cube"])
    assert lake.exists("my-bucket/cube.zarr/zarr.json")
    url = f"opendals3://my-bucket/{uuid.uuid4().hex}.zarr"
    names["cube"].to_zarr(url, consolidated=False, storage_options=s3_server.options)
    assert xr.open_zarr(url, consolidated=False, storage_options=s3_server.options).t.values.tolist() == [
        0.0,
        1.0,
        2.0,
        3.0,
    ]


def test_zarr(lake: S3FileSystem) -> None:
    import zarr

    run("zarr")
    assert zarr.open_array(f"{U}/numbers.zarr", mode="r")[:].tolist() == [7] * 4


GRID = np.arange(400_000.0).reshape(400, 1000)


@pytest.fixture
def grid(lake: S3FileSystem, tmp_path: Path) -> None:
    """Store a netCDF file of 3.2 MB in four chunks."""
    import xarray as xr

    dataset = xr.Dataset({"t": (("y", "x"), GRID)})
    dataset.to_netcdf(tmp_path / "grid.nc", engine="h5netcdf", encoding={"t": {"chunksizes": (100, 1000)}})
    lake.put_file(str(tmp_path / "grid.nc"), "my-bucket/grid.nc")


@pytest.mark.usefixtures("grid")
def test_h5py() -> None:
    names = run("h5py and netCDF")
    assert np.array_equal(names["row"], GRID[1])
    assert np.array_equal(names["grid"].t.values, GRID)
    names["grid"].close()


@pytest.mark.usefixtures("grid")
@pytest.mark.parametrize("tool", ["kerchunk", "VirtualiZarr"])
def test_references(tool: str) -> None:
    found = run("kerchunk") if tool == "kerchunk" else run("VirtualiZarr")
    with opendalfs.trace() as trace:
        assert np.array_equal(found["grid"].t[150:160].values, GRID[150:160])
    # One chunk of the file, not the file.
    assert 0 < sum(record.bytes for record in trace.records) < 1_000_000


def test_universal_pathlib(lake: S3FileSystem) -> None:
    """tests/integrations/upath has more."""
    assert run("universal_pathlib")["names"] == ["1.parquet"]


# The caches of fsspec leave the files they map open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_chains(lake: S3FileSystem, tmp_path: Path) -> None:
    import fsspec
    import pandas as pd

    names = run("Chains of fsspec")
    assert names["first"] == b"PAR1"
    assert names["rows"]["o_orderkey"].tolist() == names["same"]["o_orderkey"].tolist() == [1]
    assert names["names"] == ["1.parquet"]
    for cache in ("simplecache", "filecache", "blockcache"):
        options = {cache: {"cache_storage": str(tmp_path / cache)}}
        frame = pd.read_parquet(f"{cache}::{U}/orders.parquet", storage_options=options)
        assert frame["o_orderkey"].tolist() == KEYS
    with fsspec.open(f"simplecache::{U}/written.txt", "wb") as file:
        file.write(b"written")
    assert lake.cat_file("my-bucket/written.txt") == b"written"


def test_a_directory_of_fsspec_is_changed(lake: S3FileSystem) -> None:
    folder = run("Chains of fsspec")["folder"]
    folder.pipe({"new/a.txt": b"a", "new/b.txt": b"b"})
    folder.mv("new/a.txt", "c.txt")
    folder.rm("new", recursive=True)
    assert folder.glob("**/*.txt") == ["c.txt"]
    assert lake.cat_file("my-bucket/orders/c.txt") == b"a"


def test_rsync(lake: S3FileSystem, tmp_path: Path) -> None:
    from fsspec.generic import rsync

    memory = opendalfs.MemoryFileSystem()
    try:
        assert list(run("rsync of fsspec")["copied"]) == [f"{U}/orders/1.parquet"]
        assert memory.cat_file("orders/1.parquet") == lake.cat_file("my-bucket/orders/1.parquet")
    finally:
        memory.rm("orders", recursive=True)
    (tmp_path / "from" / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt"):
        (tmp_path / "from" / name).write_text(name)
    rsync(f"file://{tmp_path}/from", f"{U}/to")
    assert lake.find("my-bucket/to") == ["my-bucket/to/a.txt", "my-bucket/to/sub/b.txt"]
    (tmp_path / "from" / "a.txt").unlink()
    rsync(f"file://{tmp_path}/from", f"{U}/to", delete_missing=True)
    assert lake.find("my-bucket/to") == ["my-bucket/to/sub/b.txt"]
    rsync(f"{U}/to", f"file://{tmp_path}/back")
    assert (tmp_path / "back" / "sub" / "b.txt").read_text() == "sub/b.txt"


def test_progress_bars(lake: S3FileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fsspec.callbacks import TqdmCallback

    bar = run("Progress bars")["bar"]
    assert bar.value == bar.size == os.path.getsize("orders.parquet") > 0
    assert "100%" in capsys.readouterr().err
    size = 20 << 20
    lake.pipe_file("my-bucket/large", bytes(size))
    local, tree = str(tmp_path / "large"), str(tmp_path / "tree")
    for transfer, source, target, count in (
        (lake.get_file, "my-bucket/large", local, size),
        (lake.put_file, local, "my-bucket/copy", size),
        (lambda *args, **kwargs: lake.get(*args, recursive=True, **kwargs), "my-bucket/orders", tree, 1),
        (lambda *args, **kwargs: lake.put(*args, recursive=True, **kwargs), tree, "my-bucket/tree", 1),
    ):
        with TqdmCallback() as bar:
            transfer(source, target, callback=bar)
            assert (bar.tqdm.n, bar.tqdm.total) == (count, count), source
