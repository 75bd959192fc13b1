"""The same cases under pytest-benchmark, for its statistics, histograms and comparisons.

::

    pytest benchmarks/test_benchmarks.py -k arrow --benchmark-group-by=group
    pytest benchmarks/test_benchmarks.py -k arrow --benchmark-compare

They are small by default; ``OPENDALFS_BENCHMARKS=full`` makes them those of ``python -m benchmarks``. That
is where ratios come from, as peers take turns there; here each does all its rounds in a row, so that a noisy
minute is one peer's alone. This way is for watching one peer over time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.access import Skipped
from benchmarks.cases import CASES
from benchmarks.cases.model import Case, Work
from benchmarks.context import SMOKE, Context, Settings, running
from benchmarks.runner import run_once, set_distance

FULL = os.environ.get("OPENDALFS_BENCHMARKS") == "full"
PAIRS = [
    pytest.param(case, peer, id=f"{case.label}-{peer}")
    for case in CASES
    for peer in case.peers
    if FULL or not case.once
]


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    with running(Settings() if FULL else SMOKE) as context:
        yield context


@pytest.mark.parametrize(("case", "peer"), PAIRS)
def test_case(benchmark: BenchmarkFixture, context: Context, case: Case, peer: str) -> None:
    set_distance(case, context)
    try:
        warm_up, digest = run_once(case, peer, context)
    except Skipped as reason:
        pytest.skip(str(reason))

    def prepare() -> tuple[tuple[Work], dict[str, object]]:
        return (case.peers[peer](context),), {}

    benchmark.group = case.label
    benchmark.extra_info.update({**asdict(context.settings), **asdict(warm_up)})
    measure: Any = benchmark.pedantic  # it has no annotations
    outcome = measure(lambda work: work(), setup=prepare, rounds=max(1, context.settings.rounds))
    assert case.digest(getattr(outcome, "outcome", outcome)) == digest
