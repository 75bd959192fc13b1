"""The same cases under pytest-benchmark, for its statistics, histograms and comparisons.

::

    pytest benchmarks/test_benchmarks.py --benchmark-group-by=group

They are small by default; ``OPENDALFS_BENCHMARKS=full`` makes them those of ``python -m benchmarks``.
Here each peer does all its rounds in a row; there they take turns, which a noisy machine needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cases import CASES, Case, Work
from benchmarks.context import SMOKE, Context, Settings, running
from benchmarks.runner import run_once

FULL = os.environ.get("OPENDALFS_BENCHMARKS") == "full"
PAIRS = [pytest.param(case, peer, id=f"{case.label}-{peer}") for case in CASES for peer in case.peers]


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    with running(Settings() if FULL else SMOKE) as context:
        yield context


@pytest.mark.parametrize(("case", "peer"), PAIRS)
def test_case(benchmark: BenchmarkFixture, context: Context, case: Case, peer: str) -> None:
    warm_up, digest = run_once(case, peer, context)

    def prepare() -> tuple[tuple[Work], dict[str, object]]:
        return (case.peers[peer](context),), {}

    benchmark.group = case.label
    benchmark.extra_info.update({**asdict(context.settings), "requests": warm_up.requests})
    measure: Any = benchmark.pedantic  # it has no annotations
    outcome = measure(lambda work: work(), setup=prepare, rounds=context.settings.rounds)
    assert case.digest(outcome) == digest
