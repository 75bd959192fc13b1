"""How much a test tries: little in `make test`, always the same, more in `make fuzz` and `make services`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

__all__ = ["effort", "pairwise"]

_MORE = 20


def effort(examples: int, steps: int = 50, *, fixed: bool = False) -> settings:
    """Return the settings of a test that tries `examples` examples in `make test`, each of `steps` steps.

    `fixed` tries the same few in `make fuzz` too.
    """
    long = settings.get_current_profile_name() == "fuzz" and not fixed
    return settings(
        max_examples=examples * _MORE if long else examples,
        stateful_step_count=steps,
        derandomize=not long,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def pairwise(*parameters: Iterable[Any]) -> list[Any]:
    """Return all combinations for `parametrize`; those without a new pair of values are `services`.

    Most defects depend on one or two of the values: D. R. Kuhn, D. R. Wallace and A. M. Gallo, "Software
    fault interactions and implications for software testing" (2004).
    """
    seen: set[object] = set()
    found: dict[tuple[Any, ...], Any] = {}
    rows = [*product(*parameters)]
    while len(found) < len(rows):
        # The one with the most new pairs; of several the first.
        row = max((row for row in rows if row not in found), key=lambda row: len(_pairs(row) - seen))
        new = _pairs(row) - seen
        found[row] = pytest.param(*row, marks=() if new else pytest.mark.services)
        seen |= new
    return [found[row] for row in rows]


def _pairs(row: tuple[Any, ...]) -> set[object]:
    return {*combinations(enumerate(row), 2)}
