"""docs/faults.md has the operations and the faults of the matrix, and names each limit of the wheel."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from opendalfs.testing import KINDS

from .cells import CELLS, ENDPOINT, FAST, OPERATIONS
from .table import PAGE, table_of
from .upstream import UPSTREAM, reason

COUNTS = re.compile(r"(?:(?<=run of )|(?<=\| ))([\d,]+)(?= cells| \|)")
TEXT = PAGE.read_text()


def _rows(kind: str) -> list[list[str]]:
    """Return the cells of the table of a kind, row by row."""
    title = "## The endpoint\n" if kind == ENDPOINT else f"## `{kind}`: "
    section = TEXT.partition(title)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[text.strip() for text in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("kind", [*KINDS, ENDPOINT])
def test_the_page_has_the_operations_and_faults_of_the_matrix(kind: str) -> None:
    operations, faults = table_of(kind)
    rows = _rows(kind)
    if not operations:
        assert not rows
        return
    assert rows[0] == ["fault", *operations]
    assert [row[0].strip("`") for row in rows[1:]] == faults


def test_the_page_has_only_known_verdicts_and_no_wrong_one() -> None:
    words = Counter(word for kind in (*KINDS, ENDPOINT) for row in _rows(kind)[1:] for word in row[1:])
    assert words
    allowed = re.compile(
        r"(right|error|\[limit\]\(upstream\.md\))(, (right|error|\[limit\]\(upstream\.md\)))?|"
    )
    assert [word for word in words if not allowed.fullmatch(word)] == []
    total, right, error, limit, wrong = (int(number.replace(",", "")) for number in COUNTS.findall(TEXT)[:5])
    assert total > 1_000
    assert (right + error + limit, wrong) == (total, 0)


def test_each_limit_is_a_section_of_the_page_of_limits_and_explains_a_cell() -> None:
    sections = (PAGE.parent / "upstream.md").read_text()
    assert [title for title in UPSTREAM if f"\n## {title}\n" not in sections] == []
    assert {reason(cell) for cell in CELLS} - {None} == UPSTREAM.keys()


def test_the_fast_cells_have_each_operation_each_fault_and_each_kind_of_requests() -> None:
    assert {cell.operation for cell in FAST} == OPERATIONS.keys()
    assert {cell.fault for cell in FAST} == {cell.fault for cell in CELLS}
    assert {cell.kind for cell in FAST} == {cell.kind for cell in CELLS}
    assert len(CELLS) > 1_000
