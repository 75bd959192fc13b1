"""Inputs that once found a defect, or that are worth trying each time: `corpus/<kind>/<name>`."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["each", "paths"]

_FOLDER = Path(__file__).parent / "corpus"


def paths(kind: str) -> list[Path]:
    """Return the files of a kind, in order."""
    files = sorted((_FOLDER / kind).iterdir())
    assert files
    return files


def each(kind: str) -> pytest.MarkDecorator:
    """Return the decorator that runs a test with every input of a kind, as bytes."""
    files = paths(kind)
    return pytest.mark.parametrize("data", [f.read_bytes() for f in files], ids=[f.name for f in files])
