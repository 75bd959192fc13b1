"""Each block of docs/upstream.md shows something that the pinned wheel does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.code_blocks import code_blocks

PATH = Path(__file__).parent.parent / "docs" / "upstream.md"
PAGE = PATH.read_text()
SERVER, *BLOCKS = code_blocks(PATH)
TITLES = [section.partition("\n")[0] for section in PAGE.split("\n## ")[1:] if "```python" in section]


def test_every_block_has_a_title_and_a_promise() -> None:
    assert len(BLOCKS) == len(TITLES) >= 7
    assert PAGE.count("*In opendalfs:*") == len(PAGE.split("\n## ")[1:]) - 1


@pytest.mark.parametrize("block", BLOCKS, ids=TITLES)
def test_the_wheel_does_what_the_page_says(block: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{SERVER}\n{block}\nimport os\nos._exit(0)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
