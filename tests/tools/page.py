"""The blocks of docs/tools.md by their headings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.code_blocks import code_blocks

__all__ = ["BLOCKS", "run"]

PAGE = Path(__file__).parent.parent.parent / "docs" / "tools.md"


def _blocks() -> dict[str, str]:
    """Return the block below each heading of the third level; there is exactly one."""
    names = re.findall(r"^### (.*)$", PAGE.read_text(), re.M)
    return dict(zip(names, code_blocks(PAGE), strict=True))


BLOCKS = _blocks()


def run(tool: str) -> dict[str, Any]:
    """Run the block of a tool and return its names."""
    names: dict[str, Any] = {"__name__": "block"}
    exec(compile(BLOCKS[tool], f"docs/tools.md: {tool}", "exec"), names)
    return names
