"""What Polars writes through the gateway comes back, and shows only when all of it was written."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import opendalfs
import opendalfs_polars as op
from opendalfs.testing import S3Server, SeaweedFS
from opendalfs_gateway.server import gateway
from tests.integrations.polars import data as polars_data
from tests.integrations.polars import places as polars_places
from tests.integrations.polars.places import Place
from tests.versions import since

FORMATS = ("parquet", "csv", "ndjson", "ipc")
MANY = 6_000_000
"""Rows of 8 bytes that make more than one part of an upload."""


@pytest.fixture(params=polars_places.NAMES)
def place(request: pytest.FixtureRequest, s3_server: S3Server, tmp_path: Path) -> Iterator[Place]:
    if request.param == "webdav" and not isinstance(s3_server, SeaweedFS):
        pytest.skip("the S3 server of the environment has no WebDAV")
    with polars_places.place_on(request.param, s3_server, tmp_path) as found:
        yield found


@pytest.fixture
def on_s3(s3_server: S3Server, tmp_path: Path) -> Iterator[Place]:
    with polars_places.place_on("s3", s3_server, tmp_path) as found:
        yield found


def scan(place: Place, format: str, key: str, **arguments: Any) -> pl.LazyFrame:
    function = getattr(op, f"scan_{format}")
    scanned: pl.LazyFrame = function(
        place.path(key), storage_options=place.options, backend="gateway", **arguments
    )
    return scanned


def large() -> pl.LazyFrame:
    """Make a query whose result takes several parts, and does not compress."""
    return pl.LazyFrame({"a": pl.int_range(MANY, eager=True)}).select(pl.col("a").hash(seed=3))


@pytest.mark.parametrize("format", FORMATS)
def test_sinks_round_trip(place: Place, format: str) -> None:
    data = polars_data.frame(3_000)
    sink = getattr(op, f"sink_{format}")
    sink(data.lazy(), place.path(f"new/a b.{format}"), storage_options=place.options, backend="gateway")
    assert_frame_equal(scan(place, format, f"new/a b.{format}").collect(), data)
    getattr(op, f"write_{format}")(
        data.head(5), place.path(f"new/a b.{format}"), storage_options=place.options, backend="gateway"
    )
    assert scan(place, format, f"new/a b.{format}").collect().height == 5


# redb takes 7 s to store them.
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(name, marks=pytest.mark.services if name == "redb" else ())
        for name in polars_places.NAMES
    ],
    indirect=True,
)
def test_large_sinks_go_up_in_parts(place: Place) -> None:
    with opendalfs.trace() as trace:
        op.sink_parquet(
            large(),
            place.path("large.parquet"),
            storage_options=place.options,
            backend="gateway",
            compression="uncompressed",
        )
    written = scan(place, "parquet", "large.parquet")
    assert_frame_equal(
        written.select(pl.col("a").sum()).collect(), large().select(pl.col("a").sum()).collect()
    )
    assert trace.bytes >= MANY * 8
    if place.name == "s3":
        assert max(r.bytes for r in trace.records) <= 16 << 20


@pytest.mark.parametrize("name", polars_data.ODD_NAMES)
def test_odd_names_round_trip(place: Place, name: str) -> None:
    data = polars_data.frame(3)
    key = f"odd {name}/{name}.parquet"
    op.write_parquet(data, place.path(key), storage_options=place.options, backend="gateway")
    assert place.exists(key)
    assert_frame_equal(scan(place, "parquet", key, glob=False).collect(), data)


def test_partitions_round_trip(place: Place) -> None:
    data = polars_data.frame(700).with_columns(key=pl.col("group") + " 50%+#ü/x")
    base = pl.PartitionBy(place.path("parts/"), key="key")
    op.sink_parquet(data.lazy(), base, storage_options=place.options, backend="gateway", mkdir=True)
    assert base._pl_partition_by.base_path == place.path("parts/")
    if not place.lists:
        pytest.skip(f"{place.name} cannot list")
    found = scan(place, "parquet", "parts/").collect()
    assert_frame_equal(found.select(data.columns).sort("id"), data)
    assert not os.path.exists(place.url.partition("//")[0])


def test_partition_by_of_write_parquet(on_s3: Place) -> None:
    data = polars_data.frame(50)
    op.write_parquet(
        data, on_s3.path("parts/"), storage_options=on_s3.options, backend="gateway", partition_by="group"
    )
    found = scan(on_s3, "parquet", "parts/").collect()
    assert_frame_equal(found.select(data.columns).sort("id"), data)


def test_lazy_sinks_write_when_they_are_collected(on_s3: Place) -> None:
    query = op.sink_csv(
        pl.LazyFrame({"a": [1]}),
        on_s3.path("lazy.csv"),
        storage_options=on_s3.options,
        backend="gateway",
        lazy=True,
    )
    assert not on_s3.exists("lazy.csv")
    query.collect()
    assert on_s3.exists("lazy.csv")


@since("polars", "2.1", "2.0 panics there")
def test_polars_still_has_no_hook_for_the_end_of_a_lazy_sink() -> None:
    """So what a lazy sink completes is published; once something may follow it, it can wait for that."""
    sink = pl.LazyFrame({"a": [1]}).sink_csv(io.BytesIO(), lazy=True)
    with pytest.raises(pl.exceptions.InvalidOperationError, match="a sink cannot be used as the input"):
        sink.map_batches(lambda frame: frame).collect()


@pytest.mark.parametrize("rows", [1_000, MANY])
def test_a_query_that_fails_publishes_nothing(place: Place, rows: int) -> None:
    place.fs.pipe_file(place.path("old.csv"), b"a\n1\n")
    late = pl.when(pl.col("a") < rows - 1).then(0).otherwise(pl.col("a")).cast(pl.Int8)
    failing = pl.LazyFrame({"a": pl.int_range(rows, eager=True)}).with_columns(
        b=pl.col("a").hash(seed=1), c=late
    )
    for key in ("old.csv", "new.csv"):
        with pytest.raises(pl.exceptions.PolarsError):
            op.sink_csv(
                failing,
                place.path(key),
                storage_options=place.options,
                backend="gateway",
                engine="streaming",
            )
    assert place.fs.cat_file(place.path("old.csv")) == b"a\n1\n"
    assert not place.exists("new.csv")
    assert gateway().uploads == 0


KILLED = """
import sys, time
import polars as pl
import opendalfs_polars as op

def slow(frame):
    if frame["a"][0] > 4_000_000:
        print("under way", flush=True)
        time.sleep(60)
    return frame

query = pl.LazyFrame({"a": pl.int_range(6_000_000, eager=True)}).map_batches(slow, streamable=True)
options = eval(sys.argv[2])
op.sink_ndjson(query, sys.argv[1], storage_options=options, backend="gateway", engine="streaming")
"""


@pytest.mark.parametrize(
    "place",
    ["s3", *(pytest.param(name, marks=pytest.mark.services) for name in ("fs", "webdav"))],
    indirect=True,
)
def test_a_killed_process_leaves_no_object(place: Place) -> None:
    place.fs.pipe_file(place.path("old.ndjson"), b'{"a":1}\n')
    for key in ("old.ndjson", "new.ndjson"):
        command = [sys.executable, "-c", KILLED, place.path(key), repr(place.options)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            # Two threads may say so at a time.
            assert process.stdout.readline().startswith(b"under way")
            process.send_signal(signal.SIGKILL)
    assert place.fs.cat_file(place.path("old.ndjson")) == b'{"a":1}\n'
    assert not place.exists("new.ndjson")
    assert scan(place, "ndjson", "*.ndjson").collect().rows() == [(1,)]


def test_services_that_cannot_write_say_so() -> None:
    with pytest.raises(opendalfs.UnsupportedError, match="http cannot write"):
        op.write_csv(pl.DataFrame({"a": [1]}), "opendal+http://localhost:1/a.csv")


def test_a_scan_of_an_object_that_changed_fails_and_the_next_one_reads_the_new(on_s3: Place) -> None:
    first, second = polars_data.frame(20_000), polars_data.frame(30_000)
    op.write_parquet(first, on_s3.path("a.parquet"), storage_options=on_s3.options, row_group_size=1_000)
    query = scan(on_s3, "parquet", "a.parquet")
    assert query.select("id").collect().height == 20_000
    op.write_parquet(second, on_s3.path("a.parquet"), storage_options=on_s3.options, row_group_size=1_000)
    # The plan has the old footer.
    with pytest.raises(OSError, match="changed"):
        query.select("name").collect()
    assert_frame_equal(scan(on_s3, "parquet", "a.parquet").collect(), second)
