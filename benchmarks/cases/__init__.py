"""All cases, group by group."""

from __future__ import annotations

from benchmarks.cases import arrow, cache, cold, cost, duck, polar, raw, small, throttled
from benchmarks.cases.model import Case

__all__ = ["CASES", "GROUPS"]

CASES: list[Case] = [
    *raw.CASES,
    *small.CASES,
    *throttled.CASES,
    *arrow.CASES,
    *duck.CASES,
    *polar.CASES,
    *cold.CASES,
    *cache.CASES,
    *cost.CASES,
    *arrow.GROWTH,
]
GROUPS = tuple(dict.fromkeys(case.group for case in CASES))
