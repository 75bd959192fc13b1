"""Whatever Polars makes of local files, it makes of the same files elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import opendalfs_polars as op
from opendalfs.testing import S3Server, SeaweedFS
from tests.integrations.polars import data as polars_data
from tests.integrations.polars import places as polars_places
from tests.integrations.polars.places import Place

FORMATS = ("parquet", "csv", "ndjson", "ipc")
ENGINES = ("in-memory", "streaming")

QUERIES: dict[str, Callable[[pl.LazyFrame], pl.LazyFrame]] = {
    "all": lambda lf: lf,
    "projection": lambda lf: lf.select("value", "id"),
    "predicate": lambda lf: lf.filter((pl.col("id") > 12_000) & (pl.col("group") == "g3")).select("name"),
    "none": lambda lf: lf.filter(pl.col("id") < 0),
    "slice": lambda lf: lf.slice(4_990, 25),
    "head": lambda lf: lf.head(3),
    "tail": lambda lf: lf.tail(3),
    "len": lambda lf: lf.select(pl.len()),
    "index": lambda lf: lf.with_row_index("at", 5).filter(pl.col("at") % 1_000 == 0),
    "aggregate": lambda lf: lf.group_by("group").agg(pl.col("value").sum(), pl.len()).sort("group"),
}


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("polars-local")
    polars_data.write_tree(folder)
    return folder


@pytest.fixture(scope="session", params=polars_places.NAMES)
def place(
    request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    server: S3Server = request.getfixturevalue("s3_server")
    if request.param == "webdav" and not isinstance(server, SeaweedFS):
        pytest.skip("the S3 server of the environment has no WebDAV")
    with polars_places.place_on(request.param, server, tmp_path_factory.mktemp("place")) as found:
        found.upload(tree)
        yield found


@pytest.fixture
def listing(place: Place) -> Place:
    if not place.lists:
        pytest.skip(f"{place.name} cannot list")
    return place


def scan(place: Place, format: str, key: Any, **arguments: Any) -> pl.LazyFrame:
    urls = [place.path(k) for k in key] if isinstance(key, list) else place.path(key)
    scanned: pl.LazyFrame = getattr(op, f"scan_{format}")(
        urls, storage_options=place.options, backend="gateway", **arguments
    )
    return scanned


def scan_local(tree: Path, format: str, key: Any, **arguments: Any) -> pl.LazyFrame:
    paths = [f"{tree}/{k}" for k in key] if isinstance(key, list) else f"{tree}/{key}"
    scanned: pl.LazyFrame = getattr(pl, f"scan_{format}")(paths, **arguments)
    return scanned


def check(
    place: Place, tree: Path, format: str, key: Any, engine: str = "streaming", **arguments: Any
) -> None:
    found = scan(place, format, key, **arguments).collect(engine=engine)
    assert_frame_equal(found, scan_local(tree, format, key, **arguments).collect(engine=engine))
    assert found.height


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("format", FORMATS)
def test_queries(place: Place, tree: Path, format: str, engine: Any) -> None:
    here = scan(place, format, f"flat.{format}")
    there = scan_local(tree, format, f"flat.{format}")
    for name, query in QUERIES.items():
        expected = query(there).collect(engine=engine)
        assert_frame_equal(query(here).collect(engine=engine), expected, check_row_order=name != "none")


@pytest.mark.parametrize("format", FORMATS)
def test_eager_readers(place: Place, tree: Path, format: str) -> None:
    found = getattr(op, f"read_{format}")(
        place.path(f"flat.{format}"), storage_options=place.options, backend="gateway"
    )
    assert_frame_equal(found, getattr(pl, f"read_{format}")(tree / f"flat.{format}"))


@pytest.mark.parametrize("format", FORMATS)
def test_lists_of_files(place: Place, tree: Path, format: str) -> None:
    check(place, tree, format, [f"parts/part-{k}.{format}" for k in (2, 0)])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("format", FORMATS)
def test_globs(listing: Place, tree: Path, format: str, engine: str) -> None:
    check(listing, tree, format, f"parts/part-[01].{format}", engine)
    check(listing, tree, format, f"**/part-*.{format}", engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_hive_partitions(listing: Place, tree: Path, engine: Any) -> None:
    check(listing, tree, "parquet", "hive/", engine)
    here, there = scan(listing, "parquet", "hive/"), scan_local(tree, "parquet", "hive/")
    for query in (
        lambda lf: lf.filter(pl.col("year") == 2025).select("id", "day"),
        lambda lf: lf.group_by("year", "day").len().sort("year", "day"),
    ):
        assert_frame_equal(query(here).collect(engine=engine), query(there).collect(engine=engine))


@pytest.mark.parametrize("name", polars_data.ODD_NAMES)
def test_odd_names(place: Place, tree: Path, name: str) -> None:
    check(place, tree, "parquet", f"odd/{name}.parquet", glob=False)


@pytest.mark.parametrize(
    "pattern",
    ["c+*", "*c+d", "[c]?d", "?+d", "[!a-c]*", "*[ #]*", "[!+][+c]d", "*%20?", "(x)$|*", "*$|y", "*[)-+]*"],
)
def test_globs_of_odd_names_mean_what_they_mean_for_local_files(
    listing: Place, tree: Path, pattern: str
) -> None:
    """Polars' cloud stores take them for regular expressions."""
    check(listing, tree, "parquet", f"odd/{pattern}.parquet")
    check(listing, tree, "parquet", f"o?d/{pattern}.parquet")


def test_globs_in_an_odd_folder(tree: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c+d (1)"
    shutil.copytree(tree / "parts", folder / "c+d")
    for pattern in ("c+d/*.csv", "*/part-?.csv", "c+?/part-[!0].csv"):
        found = op.scan_csv(f"opendal+fs://{folder}/{pattern}", backend="gateway")
        assert_frame_equal(found.collect(), pl.scan_csv(folder / pattern).collect())


def test_glob_characters_are_literal_with_glob_false(place: Place) -> None:
    for name in ("a?b.csv", "a[b.csv", "a*b.csv"):
        place.fs.pipe_file(place.path(f"literal/{name}"), f"n\n{name}\n".encode())
    for name in ("a?b.csv", "a[b.csv", "a*b.csv"):
        assert scan(place, "csv", f"literal/{name}", glob=False).collect().item() == name


def test_odd_names_in_globs(listing: Place, tree: Path) -> None:
    found = scan(listing, "parquet", "odd/*.parquet", include_file_paths="path").collect()
    assert set(found["path"]) == {listing.path(f"odd/{name}.parquet") for name in polars_data.ODD_NAMES}


def test_other_arguments_reach_polars(place: Place, tree: Path) -> None:
    check(place, tree, "csv", "flat.csv", n_rows=7, row_index_name="at", schema_overrides={"id": pl.String})
    check(place, tree, "parquet", "flat.parquet", n_rows=7, row_index_name="at", row_index_offset=3)


def test_a_missing_file_is_not_found(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        scan(place, "parquet", "missing.parquet").collect()


def test_a_missing_directory_is_not_found(listing: Place) -> None:
    with pytest.raises((FileNotFoundError, pl.exceptions.ComputeError)):
        scan(listing, "parquet", "missing/*.parquet").collect()
