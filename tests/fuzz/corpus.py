"""Inputs that once found a defect, or that are worth trying each time: `corpus/<kind>/<name>`."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["each"]

_FOLDER = Path(__file__).parent / "corpus"


def each(kind: str) -> pytest.MarkDecorator:
    """Return the decorator that runs a test with every input of a kind, as bytes."""
    files = sorted((_FOLDER / kind).iterdir())
    assert files
    return pytest.mark.parametrize("data", [f.read_bytes() for f in files], ids=[f.name for f in files])
