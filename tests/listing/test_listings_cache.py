"""Listings are cached until they expire."""

from __future__ import annotations

from uuid import uuid4

import pytest

import opendalfs
from opendalfs import OpendalFileSystem
from tests.waiting import eventually


@pytest.fixture
def memory() -> OpendalFileSystem:
    """Return a memory service that no other test uses."""
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}")


# Listings


def test_listings_are_remembered_for_a_while() -> None:
    root = f"/{uuid4().hex}"
    options = {"root": root, "use_listings_cache": True, "skip_instance_cache": True}
    mine = OpendalFileSystem("memory", listings_expiry_time=0.2, **options)
    mine.pipe_file("d/a", b"1")
    assert mine.ls("d", detail=False) == ["d/a"]
    OpendalFileSystem("memory", root=root, skip_instance_cache=True).pipe_file("d/b", b"2")
    assert mine.ls("d", detail=False) == ["d/a"]
    assert mine.ls("d", detail=False, refresh=True) == ["d/a", "d/b"]
    OpendalFileSystem("memory", root=root, skip_instance_cache=True).pipe_file("d/c", b"3")
    assert eventually(lambda: mine.ls("d", detail=False) == ["d/a", "d/b", "d/c"])
    with opendalfs.trace() as trace:
        assert mine.ls("d", detail=False) == ["d/a", "d/b", "d/c"]
    assert trace.requests == 0
