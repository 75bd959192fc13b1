"""The code blocks of the pages, which tests run."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["code_blocks"]


def code_blocks(page: Path, info: str = "python") -> list[str]:
    """Return the blocks of a page in Markdown whose first line is ```` ``` ```` and `info`, without it."""
    return [
        block
        for found, block in re.findall(r"^```(.*)\n((?s:.*?))^```$", page.read_text(), re.M)
        if found == info
    ]
