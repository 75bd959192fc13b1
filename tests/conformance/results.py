"""Counts of the tests of each target, and the file to which runs write them."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

__all__ = ["GROUPS", "RESULTS", "Counts", "group_of", "read_results", "record"]

RESULTS = "OPENDALFS_SERVICES"
"""Environment variable: path of a file to which each test process appends a line for each test."""

GROUPS = {
    "read": "whole files and ranges, names, versions",
    "write": "replace, append, create exclusively, large files, transactions",
    "list": "ls, find, glob, walk, du",
    "directories": "create and remove directories, files beside and below them",
    "copy, remove": "copy, move and remove files and trees",
    "fsspec": "the test suite of fsspec: copy, get, put, open, pipe",
}
"""The columns of the table, and what the tests of each do."""

_MODULES = {
    "test_content": "read",
    "test_http": "read",
    "test_writes": "write",
    "test_listings": "list",
    "test_directories": "directories",
    "test_changes": "copy, remove",
    "test_fsspec_suites": "fsspec",
}


@dataclass
class Counts:
    """The outcomes of the tests of one target.

    Attributes
    ----------
    passed, failed, skipped : Counter
        Numbers of tests by group. An expected failure counts as skipped.
    reasons : Counter
        Numbers of skipped tests by reason.
    """

    passed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def group_of(module: str) -> str | None:
    """Return the group of a test module by its name; None for modules that count for no target."""
    return _MODULES.get(module.rpartition(".")[2])


def record(item: pytest.Item, report: pytest.TestReport) -> None:
    """Append the outcome of a test to the file that the environment names, if it does."""
    path = os.environ.get(RESULTS)
    if path is None or not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return
    group, target = group_of(item.module.__name__), item.callspec.params.get("target")
    # A test has reports of its setup, its call and its teardown; of those that pass only the call counts.
    if group is None or target is None or (report.passed and report.when != "call"):
        return
    line = {"test": item.nodeid, "target": target, "group": group, "outcome": report.outcome}
    if report.skipped:
        line["reason"] = _reason(report)
    with Path(path).open("a") as file:
        file.write(json.dumps(line) + "\n")


def _reason(report: pytest.TestReport) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"fails as expected: {expected}"
    assert isinstance(report.longrepr, tuple)
    return report.longrepr[2].removeprefix("Skipped: ")


def read_results(path: Path) -> dict[str, Counts]:
    """Return the counts by target. Of a test that was run again, the last outcome counts."""
    lines: dict[str, dict[str, str]] = {}
    for text in path.read_text().splitlines():
        line = json.loads(text)
        lines[line["test"]] = line
    found: defaultdict[str, Counts] = defaultdict(Counts)
    for line in lines.values():
        counts = found[line["target"]]
        getattr(counts, line["outcome"])[line["group"]] += 1
        if line["outcome"] == "skipped":
            counts.reasons[line["reason"]] += 1
    return dict(found)
