"""Each operation under each fault: the result is right, or a clear OSError is raised in time."""

from __future__ import annotations

import re

import pytest

from .cells import CELLS, FAST, OPERATIONS, PEER_CELLS, Cell
from .conftest import Matrix
from .judge import ERROR, RIGHT, WRONG
from .upstream import TIMED, reason


def _id(text: str) -> str:
    """Return a name that `pytest -k` accepts."""
    return re.sub(r"[^\w-]+", "_", text)


def _parameter(cell: Cell) -> object:
    marks = []
    if cell not in FAST:
        marks.append(pytest.mark.faults)
    upstream = reason(cell)
    if upstream:
        # Which of several requests is the second one, and whether its response is used, depends on time.
        strict = cell.schedule == "always" and cell.operation not in TIMED
        marks.append(pytest.mark.xfail(reason=f"docs/upstream.md: {upstream}", strict=strict))
    return pytest.param(cell, marks=marks, id=_id(str(cell)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cell", [_parameter(cell) for cell in CELLS])
def test_the_result_is_right_or_a_clear_error(cell: Cell, matrix: Matrix) -> None:
    verdict = matrix.verdict(cell)
    assert verdict.outcome != WRONG, verdict.detail
    if cell.must_succeed:
        assert verdict.outcome == RIGHT, verdict.detail


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [pytest.param(name, id=_id(name)) for name in OPERATIONS])
def test_no_exception_is_hidden_and_the_requests_are_those_that_the_matrix_fails(
    name: str, matrix: Matrix
) -> None:
    matrix.run(name)
    assert not matrix.unseen[name]
    operation, requests = OPERATIONS[name], matrix.clean[name]
    assert operation.requests.keys() <= requests.keys() <= {*operation.requests, *operation.besides}
    assert {kind: n for kind, n in operation.requests.items() if requests[kind] < n} == {}


@pytest.mark.peers
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, id=_id(str(cell))) for cells in PEER_CELLS.values() for cell in cells],
)
def test_other_libraries_are_recorded_for_comparison(cell: Cell, matrix: Matrix) -> None:
    assert matrix.verdict(cell).outcome in (RIGHT, ERROR, WRONG)
