"""A folder on each target for every test here."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.conformance.results import record
from tests.conformance.targets import TARGETS, Place, Target

# SeaweedFS keeps its buckets in a file tree, in which a directory remains after the removal of its last file:
# what these tests expect to be empty still has directories. s3fs fails them too, and seven more. moto, whose
# keys are flat, passes them.
_SEAWEEDFS_XFAILS: set[str] = {
    "TestCopy::test_copy_directory_to_existing_directory",
    "TestCopy::test_copy_directory_to_new_directory",
    "TestCopy::test_copy_glob_to_existing_directory",
    "TestPut::test_put_directory_to_existing_directory",
    "TestPut::test_put_directory_to_new_directory",
    "TestPut::test_put_glob_to_existing_directory",
}

# Their listings show a directory whether or not it has a marker, so a copy of a directory has none.
_NO_MARKERS = "TestCopy::test_copy_directory_without_files_with_same_name_prefix"
_WITHOUT_MARKERS = ("dashmap", "moka", "mini-moka")

if "OPENDALFS_TEST_S3_ENDPOINT" in os.environ:
    _SEAWEEDFS_XFAILS.clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the failures of SeaweedFS, and leave what is slow on some targets to `-m services`."""
    for item in items:
        # This hook receives the items of all folders.
        if item.nodeid.startswith("tests/conformance/") and isinstance(item, pytest.Function):
            _group(item)
            _leave_to_services(item)
        name = item.nodeid.rpartition("/")[2].partition("::")[2]
        if name.endswith("[s3]") and name.removesuffix("[s3]") in _SEAWEEDFS_XFAILS:
            item.add_marker(pytest.mark.xfail(reason="SeaweedFS keeps directories", strict=True))
        if name in {f"{_NO_MARKERS}[{target}]" for target in _WITHOUT_MARKERS}:
            reason = "listings do not show which directories have a marker"
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the outcome of each test to the file that the environment names."""
    report = yield
    record(item, report)
    return report


_QUICK = ("tests/conformance/test_changes.py::", "tests/conformance/test_writes.py::")


def _leave_to_services(item: pytest.Function) -> None:
    target = TARGETS.get(_target(item) or "")
    if target is None:
        return
    suite = item.nodeid.startswith("tests/conformance/test_fsspec_suites.py::")
    if (suite and not target.suites) or (target.slow and not item.nodeid.startswith(_QUICK)):
        item.add_marker(pytest.mark.services)


def _target(item: pytest.Function) -> str | None:
    return item.callspec.params.get("target") if hasattr(item, "callspec") else None


def _group(item: pytest.Function) -> None:
    """Mark the tests of a target, so that ``--dist loadgroup`` runs them in one process, with one server."""
    if (target := _target(item)) is not None:
        item.add_marker(pytest.mark.xdist_group(target))


_PARAMS = [
    pytest.param(name, marks=[pytest.mark.services] if target.service else [])
    for name, target in TARGETS.items()
]


@pytest.fixture(params=_PARAMS, scope="class")
def target(request: pytest.FixtureRequest) -> Target:
    """Return each target in turn."""
    return TARGETS[request.param]


@pytest.fixture
def place(target: Target, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Yield a filesystem and a path that no other test uses, and empty it afterwards."""
    fs, root = target.connect(request.getfixturevalue, tmp_path)
    yield Place(target, fs, root)
    if fs.locate(root)[0].can("list") and fs.exists(root, refresh=True):
        fs.rm(root, recursive=True)


@pytest.fixture
def listed(place: Place) -> Place:
    """Return a place on a service that can list."""
    place.require("list")
    return place


@pytest.fixture
def tree(listed: Place) -> Place:
    """Write a small tree, and return its place."""
    names = ("a", "b.txt", "c/d", "c/e.txt", "c/f/g", "h/i/j/k.txt")
    listed.fs.pipe({listed.path(name): name.encode() for name in names})
    return listed
