"""The repository follows the guidelines of Scientific Python, but for checks that pyproject.toml ignores."""

from __future__ import annotations

import tomllib
from pathlib import Path

from repo_review.processor import process

ROOT = Path(__file__).resolve().parent.parent


def failing(ignore: frozenset[str]) -> dict[str, str]:
    """Return the names and descriptions of the checks that fail."""
    results = process(ROOT, ignore=ignore).results
    assert sum(result.result is True for result in results) > 30
    return {result.name: result.description for result in results if result.result is False}


def test_the_checks_of_sp_repo_review_pass() -> None:
    assert failing(frozenset()) == {}


def test_only_checks_that_fail_are_ignored() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        ignored = tomllib.load(file)["tool"]["repo-review"]["ignore"]
    assert failing(frozenset({"none"})).keys() == {*ignored}
