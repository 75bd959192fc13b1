"""Figures on the pages of advice are those of the pages that say how they were measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
REPORT = (DOCS.parent / "benchmarks" / "REPORT.md").read_text()
ROWS = re.findall(
    r"^\| (.*) \| (.*) \| (.*) \| \[.*\]\((.*)\) \|$", (DOCS / "tuning.md").read_text(), re.MULTILINE
)


def test_the_table_has_rows() -> None:
    assert len(ROWS) > 15


@pytest.mark.parametrize(("case", "measured", "page"), [(row[0], row[2], row[3]) for row in ROWS])
def test_each_figure_of_the_table_is_on_the_page_that_it_names(case: str, measured: str, page: str) -> None:
    text = (DOCS / page).read_text()
    for figure in re.findall(r"\d[\d.,]*\d|\d", measured):
        number = float(figure.replace(",", ""))
        places = len(figure.partition(".")[2])
        found = {
            round(float(f.replace(",", "")), places)
            for f in re.findall(r"\d[\d.,]*\d|\d", text)
            if is_number(f)
        }
        assert number in found, f"{case}: {figure} is not on {page}"


def is_number(text: str) -> bool:
    return re.fullmatch(r"\d[\d,]*(\.\d+)?", text) is not None


def test_each_ratio_on_the_page_of_other_libraries_is_in_the_report() -> None:
    ratios = [float(ratio) for ratio in re.findall(r"\*\*([\d.]+)x\*\*", REPORT)]
    page = (DOCS / "why_not.md").read_text().partition("1.2x means that")[2].partition("\n")[2]
    named = re.findall(r"([\d.]*\d)x\b", page)
    assert len(named) > 10
    for text in named:
        step = 10 ** -len(text.partition(".")[2])
        assert any(abs(ratio - float(text)) <= step / 2 + 1e-9 for ratio in ratios), f"{text}x"
