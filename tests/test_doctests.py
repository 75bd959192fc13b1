"""The examples in docstrings run, and print what they show."""

from __future__ import annotations

import doctest
import importlib
import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest

pytestmark = pytest.mark.hedges

ROOT = Path(__file__).parent.parent
FOLDERS = [ROOT / "opendalfs", *sorted((ROOT / "integrations").glob("opendalfs_*"))]


def modules_with_examples() -> list[str]:
    """Return the modules whose docstrings have examples; those of opendalfs.testing start servers."""
    found = []
    for folder in FOLDERS:
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder.parent).with_suffix("").parts
            if parts[:2] != ("opendalfs", "testing") and ">>> " in file.read_text():
                found.append(".".join(parts).removesuffix(".__init__"))
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
    assert not failed, output.getvalue()
