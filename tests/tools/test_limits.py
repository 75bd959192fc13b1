"""What does not work by docs/tools.md, and what to do instead. If one of these fails, change the page."""

from __future__ import annotations

import codecs
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import opendalfs
from opendalfs import S3FileSystem

# The import of some of these takes long on a busy machine.
pytestmark = [pytest.mark.tools, pytest.mark.timeout(400)]

U = "opendal+s3://my-bucket"


@pytest.mark.usefixtures("lake")
def test_gdal_takes_a_url_for_a_local_path() -> None:
    import geopandas
    import pyogrio

    frame = places()
    with pytest.raises(pyogrio.errors.DataSourceError):
        geopandas.read_file(f"{U}/places.geojson")
    with pytest.raises(pyogrio.errors.DataSourceError):
        frame.to_file(f"{U}/places.gpkg")
    assert os.listdir() == []


def test_gdal_writes_to_memory_instead_and_reads_an_open_file(lake: S3FileSystem) -> None:
    import geopandas

    buffer = io.BytesIO()
    places().to_file(buffer, driver="FlatGeobuf")
    lake.pipe_file("my-bucket/places.fgb", buffer.getvalue())
    with lake.open("my-bucket/places.fgb") as file:
        assert geopandas.read_file(file)["name"].tolist() == ["a"]


def test_gdal_reads_from_a_server_instead(lake: S3FileSystem) -> None:
    import geopandas
    import pyogrio

    lake.pipe_file("my-bucket/places.geojson", places().to_json().encode())
    with opendalfs.serve(f"{U}") as server:
        options = server.storage_options("gdal")
        pyogrio.set_gdal_config_options(options)
        try:
            found = geopandas.read_file(f"/vsis3/{server.bucket}/places.geojson")
        finally:
            pyogrio.set_gdal_config_options(dict.fromkeys(options))
    assert found["name"].tolist() == ["a"]


@pytest.mark.usefixtures("lake")
def test_geopandas_passes_a_url_to_arrow_when_it_writes_parquet() -> None:
    with pytest.raises(Exception, match="Unrecognized filesystem type"):
        places().to_parquet(f"{U}/places.parquet")


def places():  # type: ignore[no-untyped-def]
    import geopandas
    import shapely

    return geopandas.GeoDataFrame({"name": ["a"]}, geometry=[shapely.Point(1, 2)], crs=4326)


def test_xarray_takes_a_scheme_with_a_plus_for_a_local_path(lake: S3FileSystem) -> None:
    import xarray as xr

    xr.Dataset({"t": ("x", [1.0])}).to_zarr(f"{U}/cube.zarr", mode="w", consolidated=False)
    assert os.listdir() == ["opendal+s3:"]
    assert not lake.exists("my-bucket/cube.zarr")


def test_hdf5_seeks_while_it_writes(lake: S3FileSystem) -> None:
    import h5py

    def write(file: object) -> None:
        with h5py.File(file, "w") as hdf:
            hdf["t"] = np.arange(3)

    with pytest.raises(OSError, match="seek"), lake.open("my-bucket/a.h5", "wb") as file:
        write(file)
    assert not lake.exists("my-bucket/a.h5")
    buffer = io.BytesIO()
    write(buffer)
    lake.pipe_file("my-bucket/a.h5", buffer.getvalue())
    with lake.open("my-bucket/a.h5") as file, h5py.File(file) as hdf:
        assert hdf["t"][:].tolist() == [0, 1, 2]


def test_python_writes_no_byte_order_mark_to_a_file_that_cannot_seek(
    lake: S3FileSystem, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"x": ["ü"]})
    frame.to_csv(f"{U}/a.csv", encoding="utf-16", index=False)
    content = lake.cat_file("my-bucket/a.csv")
    frame.to_csv(tmp_path / "a.csv", encoding="utf-16", index=False)
    mark = codecs.BOM_UTF16
    assert mark + content == (tmp_path / "a.csv").read_bytes()
    frame.to_csv(f"{U}/b.csv", encoding="utf-16-le", index=False)
    assert pd.read_csv(f"{U}/b.csv", encoding="utf-16-le").equals(frame)


@pytest.mark.usefixtures("lake")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_dlt_knows_the_times_of_some_schemes_only() -> None:
    from dlt.common.storages.fsspec_filesystem import MTIME_DISPATCH
    from dlt.sources.filesystem import filesystem

    before = MTIME_DISPATCH.pop("opendal+s3", None)
    try:
        with pytest.raises(Exception, match="opendal\\+s3"):
            list(filesystem(bucket_url=U, file_glob="orders/*"))
    finally:
        if before is not None:
            MTIME_DISPATCH["opendal+s3"] = before
