"""Every example runs, as a person would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(p.stem for p in (ROOT / "examples").glob("*.py") if p.stem != "__init__")


def run(example: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{example}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs_and_prints_something(example: str) -> None:
    assert run(example).strip()


def test_the_quickstart_runs_on_a_storage_of_the_users_own(tmp_path: Path) -> None:
    told = run("quickstart", "--url", f"opendal+fs://{tmp_path}")
    assert "The tables are equal to the local files." in told
    assert "Both find" in told
    assert not list(tmp_path.rglob("*.parquet"))
