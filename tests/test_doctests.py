"""The examples in docstrings run, and print what they show."""

from __future__ import annotations

import doctest
import importlib
import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.hedges

ROOT = Path(__file__).parent.parent
FOLDERS = [ROOT / "opendalfs", *sorted((ROOT / "integrations").glob("opendalfs_*"))]


def modules_with_examples() -> list[Any]:
    """Return the modules whose docstrings have examples; those of opendalfs.testing start all servers."""
    found = []
    for folder in FOLDERS:
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder.parent).with_suffix("").parts
            if ">>> " in file.read_text():
                name = ".".join(parts).removesuffix(".__init__")
                is_testing = parts[:2] == ("opendalfs", "testing")
                found.append(pytest.param(name, marks=[pytest.mark.services] * is_testing))
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_docstrings_print_what_they_show(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    output = io.StringIO()
    with redirect_stdout(output):
        failed, attempted = doctest.testmod(module)
    assert attempted, "no example was found: is its docstring that of a function or a class?"
    if failed and "ServerUnavailable" in output.getvalue():
        pytest.skip("a server of the examples is not installed")
    assert not failed, output.getvalue()
