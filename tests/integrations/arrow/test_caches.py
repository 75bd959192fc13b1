"""Caches of files read through Arrow are bounded, expire, and are freed with their filesystem."""

from __future__ import annotations

import gc
import io
import weakref
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.read.version_cache import LISTED
from opendalfs.testing import S3Server
from opendalfs_arrow import call_hints, file_cache, footer, scan
from opendalfs_arrow.blocks import Block
from opendalfs_arrow.file_cache import FileCache
from opendalfs_arrow.footer import Tail
from opendalfs_arrow.scan import Scan
from tests.integrations.arrow.places import Place, numbers, s3_place
from tests.waiting import eventually

FILES = 18


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("opendalfs_arrow.file_cache.time", made)
    monkeypatch.setattr("opendalfs.path_cache.time", made)
    monkeypatch.setattr("opendalfs.read.version_cache.time", made)
    return made


def file(path: str) -> dict[str, Any]:
    return {"name": path, "type": "file", "size": 1, "ETag": '"e"'}


def fresh(**options: Any) -> OpendalFileSystem:
    """Make a filesystem that nothing else shares."""
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}", skip_instance_cache=True, **options)


class TestListings:
    def test_entries_from_listings_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(file_cache, "LISTED", LISTED._replace(most=1_000))
        monkeypatch.setattr(file_cache, "_MOST_ORDERED_FILES", 1_000)
        monkeypatch.setattr(file_cache, "_MOST_DIRECTORIES", 100)
        monkeypatch.setattr(file_cache, "_MOST_TREE_ENTRIES", 500)
        kept = FileCache()
        for i in range(200):
            paths = [f"b/d{i}/{j}" for j in range(100)]
            for path in paths:
                kept.add(path, file(path))
            kept.order.add(paths)
            kept.add(f"b/d{i}", {"name": f"b/d{i}", "type": "directory", "size": 0})
            kept.directories.add_tree(
                f"b/e{i}", [file(path) for path in paths], kept.directories.invalidations
            )
        assert len(kept.versions) == 1_000
        assert len(kept.directories._paths) <= 100
        assert kept.directories._trees.weight <= 500
        assert sum(len(order) for _, order in kept.order._orders) <= 1_000
        # The last listing is there.
        assert kept.is_file("b/d199/99")
        assert kept.order.following("b/d199/0", 2, lambda _: True) == ["b/d199/1", "b/d199/2"]
        assert len(kept.directories.take_tree("b/e199") or []) == 100

    @pytest.mark.parametrize(("seconds", "lasts"), [(None, None), (5.0, 5.0), (3_600.0, 3_600.0)])
    def test_it_expires_when_the_filesystems_listings_do(
        self, clock: Clock, seconds: float | None, lasts: float | None
    ) -> None:
        for handler in (
            opendalfs.arrow(fresh(listings_expiry_time=seconds)).handler,
            opendalfs.arrow(listings_expiry_time=seconds).handler,
        ):
            kept = handler.cache
            kept.add("b/x", file("b/x"))
            kept.order.add(["b/x", "b/y"])
            clock.now += 4.9
            assert kept.is_file("b/x")
            assert kept.order.following("b/x", 1, lambda _: True) == ["b/y"]
            clock.now += 1e6 if lasts is None else lasts - 4.8
            assert kept.is_file("b/x") is (lasts is None)
            assert kept.order.following("b/x", 1, lambda _: True) == (["b/y"] if lasts is None else [])

    def test_it_expires_after_half_a_minute_by_default(self, clock: Clock) -> None:
        for kept in (opendalfs.arrow(fresh()).handler.cache, opendalfs.arrow().handler.cache):
            kept.add("b/x", file("b/x"))
            clock.now += 29
            assert kept.is_file("b/x")
            clock.now += 2
            assert not kept.is_file("b/x")

    def test_expired_listings_leave_memory(self, clock: Clock) -> None:
        kept = FileCache()
        for i in range(200):
            kept.add(f"b/{i}", file(f"b/{i}"))
            kept.directories.add_tree(f"d/{i}", [file("d/x")] * 10, kept.directories.invalidations)
            kept.order.add([f"o/{i}/1", f"o/{i}/2"])
        clock.now += 31
        kept.add("b/new", file("b/new"))
        kept.directories.add_tree("d/new", [], kept.directories.invalidations)
        kept.order.add(["o/1", "o/2"])
        assert (
            len(kept.versions),
            len(kept.directories._paths),
            len(kept.directories._trees),
            len(kept.order._orders),
        ) == (1, 1, 1, 1)


class TestEnds:
    def test_ends_of_files_are_kept_within_their_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(file_cache, "_MOST_TAIL_BYTES", 400_000)
        fs = fresh()
        arrow = opendalfs.arrow(fs)
        for i in range(40):
            pq.write_table(numbers(1_000), f"{i}.parquet", filesystem=arrow)
            pq.read_table(f"{i}.parquet", filesystem=arrow)
        tails = arrow.handler.cache.tails._tails
        held = [t.tail for path in tails.paths() if (t := tails.get(path)) is not None]
        assert 2 <= len(held) < 20
        assert sum(tail.size for tail in held) <= 400_000

    def test_a_large_footer_counts_with_what_is_parsed_of_it(self) -> None:
        fs = fresh()
        sink = io.BytesIO()
        pq.write_table(pa.table({f"c{i}": [i] * 40 for i in range(300)}), sink, row_group_size=4)
        data = sink.getvalue()
        length = int.from_bytes(data[-8:-4], "little")
        fs.pipe_file("t.parquet", data)
        arrow = opendalfs.arrow(fs)
        arrow.open_input_file("t.parquet").read_at(4, 0)
        tails = arrow.handler.cache.tails._tails
        assert eventually(lambda: tails.weight >= 10 * length)
        arrow.handler.cache.invalidate("t.parquet")
        assert (tails.weight, len(tails)) == (0, 0)

    def test_ends_go_when_their_time_is_over(self, clock: Clock) -> None:
        fs = fresh()
        arrow = opendalfs.arrow(fs)
        for i in range(20):
            pq.write_table(numbers(10), f"{i}.parquet", filesystem=arrow)
            pq.read_table(f"{i}.parquet", filesystem=arrow)
        assert len(arrow.handler.cache.tails._tails) == 20
        clock.now += 4
        pq.read_table("0.parquet", filesystem=arrow)
        assert len(arrow.handler.cache.tails._tails) == 1


class TestFilesystems:
    @pytest.mark.parametrize("through", ["arrow", "fsspec", "stream"])
    def test_a_filesystem_without_references_is_freed(self, through: str) -> None:
        fs = fresh()
        arrow = opendalfs.arrow(fs)
        pq.write_table(numbers(1_000), "t.parquet", filesystem=arrow)
        if through == "arrow":
            pq.read_table("", filesystem=arrow)
        elif through == "fsspec":
            pq.read_table("t.parquet", filesystem=fs)
        else:
            arrow.open_input_stream("t.parquet").read(10)
        gone = weakref.ref(fs)
        kept = weakref.ref(arrow.handler.cache)
        del fs, arrow
        # pyarrow's threads may still be letting go of the file.
        assert eventually(lambda: (gc.collect(), gone() is None and kept() is None)[1])

    def test_filesystems_of_urls_are_kept_within_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("opendalfs_arrow.paths._MOST_FILESYSTEMS", 3)
        handler = opendalfs.arrow().handler
        for i in range(10):
            handler.paths.resolve(f"opendal+http://localhost:{i + 1}/x.parquet")
        assert len(handler.paths._filesystems) == 3


def living(*kinds: type) -> list[object]:
    gc.collect()
    return [o for o in gc.get_objects() if type(o) in kinds]


def added(before: list[object], *kinds: type) -> int:
    """Count what lives now and did not before: other tests may have left something behind."""
    known = set(map(id, before))
    return sum(id(o) not in known for o in living(*kinds))


class TestScans:
    @pytest.fixture
    def place(self, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Place:
        monkeypatch.setattr(footer, "WHOLE", 0)
        monkeypatch.setattr(footer, "TAIL", 8_000)
        monkeypatch.setattr(file_cache, "_MOST_TAILS", 8)
        place = s3_place(s3_server, listings_expiry_time=25.0)
        table = numbers(4_000)
        for i in range(FILES):
            pq.write_table(table, place.path(f"{i:02}.parquet"), filesystem=place.fs, compression="none")
        return place

    def read(self, place: Place) -> None:
        for i in range(FILES):
            path = place.path(f"{i:02}.parquet")
            if i % 3 == 0:
                found = pq.read_table(path, columns=["c1"], filesystem=place.fs)
            elif i % 3 == 1:
                found = pq.ParquetFile(path, filesystem=place.fs).read(["c1"])
            else:
                found = ds.dataset(path, filesystem=place.fs).to_table(columns=["c1"])
            assert found.num_rows == 4_000
        assert pq.read_table(place.root, columns=["c2"], filesystem=place.fs).num_rows == 4_000 * FILES
        # Given up in the middle.
        next(iter(ds.dataset(place.root, filesystem=place.fs).to_batches()))

    def test_nothing_grows_with_the_number_of_files_that_were_read(self, place: Place) -> None:
        # Objects are counted: tracemalloc crashes Python 3.11 when OpenDAL's threads allocate meanwhile.
        before, held = living(Scan, Block, Tail), scan.BUDGET.held
        for _ in range(2):
            self.read(place)
        assert eventually(lambda: added(before, Scan, Block) == 0)
        assert eventually(lambda: added(before, Tail) <= 8)
        assert eventually(lambda: scan.BUDGET.held <= held)
        assert call_hints.running_calls() == []

    def test_a_scan_that_was_never_closed_gives_its_budget_back(self, place: Place) -> None:
        before, held = living(Scan, Block), scan.BUDGET.held
        place.fs.get_file_info(pafs.FileSelector(place.root))
        for i in range(FILES):
            opened = place.fs.open_input_file(place.path(f"{i:02}.parquet"))
            opened.read_at(100, 4)
            del opened
        assert eventually(lambda: added(before, Scan, Block) == 0)
        assert eventually(lambda: scan.BUDGET.held <= held)
