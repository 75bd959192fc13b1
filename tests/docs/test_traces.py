"""The plots of docs/tracing.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from opendalfs.testing import S3Server

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = sorted(re.findall(r"!\[.*\]\(images/(.*)\)", (DOCS / "tracing.md").read_text()))


def title(plot: Path) -> str:
    """Return the title of a plot."""
    texts = [
        element.text or "" for element in ElementTree.parse(plot).iter() if element.tag.endswith("}text")
    ]
    return texts[0]


def test_the_page_shows_the_plots_that_it_describes() -> None:
    images = DOCS / "images"
    assert sorted(path.name for path in images.glob("*.svg")) == SHOWN
    described = {"trace_loop": 24, "trace_cat": 1, "trace_parquet": 3, "trace_cached": 1}
    for name, round_trips in described.items():
        assert f" {round_trips} round trips" in title(images / f"{name}.svg")


@pytest.fixture
def draw_traces(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.delitem(sys.modules, "draw_traces", raising=False)
    import draw_traces

    return draw_traces


@pytest.mark.services
def test_the_script_draws_them_from_real_traces(
    draw_traces: ModuleType, s3_server: S3Server, tmp_path: Path
) -> None:
    draw_traces.draw(tmp_path, s3_server)
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == SHOWN
    # On a busy machine reads that begin together may end one after the other, which counts as a chain.
    assert title(tmp_path / "trace_loop.svg").startswith("24 requests")
    assert "24 round trips" in title(tmp_path / "trace_loop.svg")
    assert title(tmp_path / "trace_cat.svg").startswith("24 requests")
    assert title(tmp_path / "trace_cached.svg").startswith("1 request")
