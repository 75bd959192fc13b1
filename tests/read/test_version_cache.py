"""The cache of object versions: each use has a lifetime, and no answer outlives a change."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from opendalfs.read.version_cache import CONDITIONAL, LISTED, QUERY, Lifetime, VersionCache
from opendalfs.storage.version import Version


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    made = SimpleNamespace(now=100.0)
    made.monotonic = lambda: made.now
    monkeypatch.setattr("opendalfs.path_cache.time", made)
    monkeypatch.setattr("opendalfs.read.version_cache.time", made)
    return made


def test_the_lifetimes_are_those_that_the_documentation_states() -> None:
    assert (LISTED.seconds, QUERY.seconds, CONDITIONAL.seconds) == (30.0, 2.0, None)


def test_a_version_is_kept_until_its_object_changes() -> None:
    cache = VersionCache(CONDITIONAL)
    asked = cache.now()
    cache.put_all([("a", Version(1)), ("b", Version(2))], asked)
    assert cache.get("a") == Version(1)
    cache.invalidate("a")
    assert cache.get("a") is None
    assert cache.get("b") == Version(2)


def test_an_answer_from_before_a_change_is_not_kept() -> None:
    cache = VersionCache(CONDITIONAL)
    for change in (lambda: cache.invalidate("a"), lambda: cache.invalidate_below(""), cache.clear):
        asked = cache.now()
        change()
        cache.put("a", Version(1), asked)
        assert cache.get("a") is None
        cache.put("a", Version(1), cache.now())
        assert cache.get("a") == Version(1)


def test_a_changed_directory_takes_along_what_is_below_it() -> None:
    cache = VersionCache(CONDITIONAL)
    for path in ("d", "d/a", "d/e/b", "da"):
        cache.put(path, Version(1))
    cache.invalidate_below("d")
    assert [cache.get(path) is None for path in ("d", "d/a", "d/e/b", "da")] == [True, True, True, False]


def test_a_lifetime_counts_from_the_request(clock: SimpleNamespace) -> None:
    cache = VersionCache(QUERY)
    asked = cache.now()
    clock.now += 1.5
    cache.put("a", Version(1), asked)
    cache.put("b", Version(2))
    assert (cache.get("a"), cache.get("b")) == (Version(1), Version(2))
    clock.now += 0.6
    assert (cache.get("a"), cache.get("b")) == (None, Version(2))
    cache.put("c", Version(3), asked)
    assert cache.get("c") is None


def test_expired_versions_leave_memory(clock: SimpleNamespace) -> None:
    cache = VersionCache(QUERY)
    cache.put_all([(str(i), Version(i)) for i in range(100)], cache.now())
    clock.now += 2
    assert cache.get("elsewhere") is None
    assert len(cache) == 0


def test_versions_are_bounded_in_number() -> None:
    cache = VersionCache(Lifetime(None, 10))
    cache.put_all([(str(i), Version(i)) for i in range(25)], cache.now())
    assert cache.get("14") is None
    assert [cache.get(str(i)) for i in range(15, 25)] == [Version(i) for i in range(15, 25)]
    assert len(cache) == 10
