"""The cache by path, and the caches that are made of it: bounded, expiring, and quick to invalidate."""

from __future__ import annotations

import pickle
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opendalfs
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.listing import cache as listing_cache
from opendalfs.listing.cache import Listings
from opendalfs.listing.info import Info
from opendalfs.path_cache import PathCache
from opendalfs_arrow.file_cache import FileCache
from tests.waiting import eventually

PATHS = st.lists(st.sampled_from(["a", "b", "ab", ""]), min_size=1, max_size=4).map("/".join)


class TestPathCache:
    @settings(max_examples=150, deadline=None)
    @given(
        steps=st.lists(
            st.tuples(st.sampled_from(["put", "put", "put", "pop", "invalidate_below", "clear"]), PATHS),
            max_size=40,
        )
    )
    def test_it_holds_what_a_plain_dict_would(self, steps: list[tuple[str, str]]) -> None:
        cache, model = PathCache[int](), dict[str, int]()
        for i, (step, path) in enumerate(steps):
            if step == "put":
                cache.put(path, i)
                model[path] = i
            elif step == "pop":
                assert cache.pop(path) == model.pop(path, None)
            elif step == "clear":
                cache.clear()
                model.clear()
            else:
                cache.invalidate_below(path)
                above = path.rstrip("/")
                below = [p for p in model if p and (p.startswith(f"{above}/") if above else True)]
                for name in below:
                    del model[name]
            assert {p: cache.get(p) for p in cache.paths()} == model
            assert cache.weight == len(cache) == len(model)
        for path in list(model):
            cache.pop(path)
        # Nothing is left of the paths above, either.
        assert not cache._children

    def test_the_oldest_go_when_there_are_too_many(self) -> None:
        cache = PathCache[int](most=3)
        for i in range(5):
            cache.put(f"d/{i}", i)
        cache.put("d/2", 20)
        cache.put("d/5", 5)
        assert cache.paths() == ["d/4", "d/2", "d/5"]

    def test_the_first_invalidation_takes_no_longer_than_any_other(self) -> None:
        cache = PathCache[int]()
        begun = time.thread_time()
        for i in range(20_000):
            cache.put(f"lake/d{i % 300}/{i}", i)
        put = time.thread_time()
        cache.invalidate_below("lake/none")
        # A tree that was made only now took half of the time of all puts.
        assert time.thread_time() - put < (put - begun) / 20

    def test_the_oldest_go_when_they_weigh_too_much_and_the_newest_stays(self) -> None:
        cache = PathCache[str](most_weight=10)
        for name, weight in (("a", 4), ("b", 4), ("c", 4)):
            cache.put(name, name, weight)
        assert (cache.paths(), cache.weight) == (["b", "c"], 8)
        cache.put("large", "large", 50)
        assert (cache.paths(), cache.weight) == (["large"], 50)
        cache.put("d", "d", 1)
        assert (cache.paths(), cache.weight) == (["d"], 1)

    def test_expired_entries_are_removed_from_lookups_and_from_memory(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        monkeypatch.setattr("opendalfs.path_cache.time", SimpleNamespace(monotonic=lambda: now[0]))
        cache = PathCache[int](seconds=10)
        for i in range(100):
            cache.put(f"d/{i}", i)
        cache.put("brief", 1, seconds=1)
        now[0] += 1
        assert (cache.get("brief"), cache.get("d/7")) == (None, 7)
        now[0] += 9
        assert cache.get("elsewhere") is None
        assert (len(cache), cache.weight) == (0, 0)
        cache.put("d/7", 8)
        assert (len(cache), cache.get("d/7")) == (1, 8)
        assert PathCache[int](seconds=0).get("x") is None


def entries(folder: str, count: int) -> list[Info]:
    return [{"name": f"{folder}/{i}", "type": "file", "size": 1} for i in range(count)]


class TestListings:
    def test_it_is_a_mapping_as_fsspecs_own(self) -> None:
        cache = Listings(True, 30.0)
        cache["b/d"] = entries("b/d", 2)
        assert "b/d" in cache
        assert (list(cache), len(cache), len(cache["b/d"])) == (["b/d"], 1, 2)
        assert cache.lookup("b/d", "b/d/1") == cache["b/d"][1]
        del cache["b/d"]
        for gone in (lambda: cache["b/d"], lambda: cache.__delitem__("b/d")):
            with pytest.raises(KeyError):
                gone()
        copy = pickle.loads(pickle.dumps(cache))
        assert (type(copy), copy.listings_expiry_time, len(copy)) == (Listings, 30.0, 0)
        off = Listings(False)
        off["b/d"] = []
        assert "b/d" not in off

    def test_the_oldest_listings_go_when_all_hold_too_many_entries(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listing_cache, "_MOST_CACHED", 1_000)
        cache = Listings(True, None)
        for i in range(100):
            cache[f"b/{i}"] = entries(f"b/{i}", 99)
        assert list(cache) == [f"b/{i}" for i in range(90, 100)]
        cache["b/large"] = entries("b/large", 5_000)
        assert list(cache) == ["b/large"]

    def test_no_more_listings_are_kept_than_max_paths(self) -> None:
        fs = opendalfs.filesystem("memory", use_listings_cache=True, max_paths=5, skip_instance_cache=True)
        root = f"max-paths-{uuid4().hex}"
        fs.pipe({f"{root}/{i}/x": b"1" for i in range(20)})
        fs.invalidate_cache()
        for i in range(20):
            fs.ls(f"{root}/{i}")
        assert sorted(fs.dircache) == sorted(f"{root}/{i}" for i in range(15, 20))

    def test_expired_listings_leave_memory(self) -> None:
        cache = Listings(True, 0.05)
        for i in range(50):
            cache[f"b/{i}"] = entries(f"b/{i}", 10)
        assert eventually(lambda: cache.lookup("b/other", "b/other/x") is None and len(cache) == 0)


class TestInvalidation:
    def test_a_write_looks_at_no_more_than_what_it_concerns(self) -> None:
        fs = OpendalFileSystem("memory", root=f"/{uuid4().hex}", use_listings_cache=True)
        cache = FileCache()
        fs.add_change_listener(cache)

        def seconds(count: int) -> float:
            for i in range(count):
                cache.add(f"k/d{i % 300}/{i}", {"type": "file", "size": 1, "name": ""})
            for i in range(count // 2):
                fs.dircache[f"l/{i % 300}/{i}"] = []
            times = []
            for i in range(50):
                begun = time.perf_counter()
                fs.invalidate_cache(f"new/{i}/x")
                times.append(time.perf_counter() - begun)
            return min(times)

        few = seconds(100)
        # 1,000 times as many took some 1,000 times as long.
        assert seconds(100_000) < 30 * few + 1e-4

    def test_listings_above_and_below_a_change_are_forgotten_and_no_others(self) -> None:
        fs = OpendalFileSystem("memory", root=f"/{uuid4().hex}", use_listings_cache=True)
        for folder in ("", "a", "a/b", "a/b/c", "a/bc", "d"):
            fs.dircache[folder] = []
        fs.invalidate_cache("a/b")
        assert sorted(fs.dircache) == ["a/bc", "d"]


class TestWriteTimes:
    """Times that are kept for stores in this process, which keep none themselves."""

    @pytest.fixture
    def fs(self) -> OpendalFileSystem:
        return OpendalFileSystem("memory", root=f"/{uuid4().hex}")

    def kept(self, fs: OpendalFileSystem) -> list[str]:
        times = fs.locate("x")[0].write_times._times
        assert times is not None
        return sorted(times.paths())

    def test_times_go_with_their_objects(self, fs: OpendalFileSystem) -> None:
        fs.pipe(dict.fromkeys(("a", "b", "t/x", "t/u/y", "t2/z", "m/1", "m/2"), b"1"))
        assert self.kept(fs) == ["a", "b", "m/1", "m/2", "t/u/y", "t/x", "t2/z"]
        fs.rm_file("a")
        fs.mv("b", "c")
        fs.rm("t", recursive=True)
        fs.mv("m", "n", recursive=True)
        assert self.kept(fs) == ["c", "n/1", "n/2", "t2/z"]
        for i in range(100):
            with fs.open(f"temporary/{i}", "wb") as file:
                file.write(b"1")
            fs.rm(f"temporary/{i}")
        assert self.kept(fs) == ["c", "n/1", "n/2", "t2/z"]

    def test_an_object_keeps_its_time_while_others_go(self, fs: OpendalFileSystem) -> None:
        before = datetime.now(UTC)
        fs.pipe({"a/x": b"1", "ab": b"1", "a": b"1"})
        fs.rm("a/", recursive=True)
        fs.pipe_file("a/x", b"2")
        assert before <= fs.modified("ab") <= fs.modified("a/x") <= datetime.now(UTC)
