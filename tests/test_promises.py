"""Each promise of docs/promises.md names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "promises.md").read_text()
PROMISED = PAGE.partition("\n## What is not promised")[0]
PROMISES = re.findall(r"^- \*\*.*(?:\n  .*)*", PROMISED, re.MULTILINE)
TESTS = sorted(set(re.findall(r"`(tests/[^`]*)`", PROMISED)) - {"tests/test_promises.py"})


def test_every_promise_names_a_test() -> None:
    assert len(PROMISES) >= 30
    assert [p for p in PROMISES if not re.search(r"\sTests: `tests/\S+::\S+`", p)] == []


@pytest.mark.parametrize("name", TESTS)
def test_every_named_test_exists(name: str) -> None:
    file, *parts = name.split("::")
    path = ROOT / file
    # What pytest collects: a function, or a method of a class, by its name.
    assert path.name.startswith("test_")
    assert parts[-1].startswith("test_")
    body = ast.parse(path.read_text()).body
    for part in parts:
        found = [node for node in body if getattr(node, "name", None) == part]
        assert found, f"{name}: there is no {part}"
        body = getattr(found[-1], "body", [])
    assert all(part.startswith("Test") for part in parts[:-1])
