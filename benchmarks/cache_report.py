"""The part of the report that is about the cache on disk: what was measured, beside the goals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.cases.cache import (
    AT_LEAST,
    AT_MOST,
    BLOCKCACHE,
    FILECACHE,
    FIRST,
    FIRST_AT_MOST,
    FOREVER,
    ROUND_TRIP,
    SECOND,
    UNCACHED,
    reader_of,
)
from benchmarks.cases.model import OURS
from benchmarks.causes import GOAL_CAUSES
from benchmarks.runner import Result
from benchmarks.tables import figure

__all__ = ["lines"]


def lines(results: Sequence[Result]) -> Iterator[str]:
    """Return the tables of first and of second runs, and why goals are missed.

    Parameters
    ----------
    results : sequence of Result
        Those of the group ``cache``.

    Yields
    ------
    str
        A line.
    """
    shown = [result for result in results if result.median(OURS)]
    yield from _second_runs([result for result in shown if result.name.startswith(SECOND)])
    yield from _first_runs([result for result in shown if result.name.startswith(FIRST)])
    sentences = [sentence for result in shown for sentence in _missed(result)]
    if sentences:
        yield "Where a goal is missed:"
        yield ""
        yield from (f"- {sentence}" for sentence in sentences)
        yield ""


def _second_runs(results: Sequence[Result]) -> Iterator[str]:
    if not results:
        return
    yield "Second run in a fresh process, opendalfs = 1x, with the goals. Requests are those of opendalfs."
    yield ""
    yield (
        f"| second run | seconds | requests | with cache_ttl=None | requests | engine's own reader, or s3fs "
        f"| {FILECACHE} | {BLOCKCACHE} | opendalfs to {ROUND_TRIP} |"
    )
    yield f"|---|--:|---|--:|---|{'--:|' * 4}"
    for result in results:
        cells = (
            result.name.removeprefix(SECOND),
            figure(result.median(OURS), ".3f"),
            _calls(result, OURS),
            figure(result.median(FOREVER), ".3f"),
            _calls(result, FOREVER),
            *(_ratio(result, peer) for peer in (reader_of(result.samples), FILECACHE, BLOCKCACHE)),
            _inverse(result, ROUND_TRIP, AT_MOST.get((result.name, ROUND_TRIP))),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _first_runs(results: Sequence[Result]) -> Iterator[str]:
    if not results:
        return
    yield "First run, which fills the cache, in a fresh process:"
    yield ""
    yield "| first run | seconds, no cache | seconds, with it | with it to without it |"
    yield "|---|--:|--:|--:|"
    for result in results:
        seconds = (figure(result.median(peer), ".3f") for peer in (UNCACHED, OURS))
        cells = (result.name.removeprefix(FIRST), *seconds, _inverse(result, UNCACHED, FIRST_AT_MOST))
        yield f"| {' | '.join(cells)} |"
    yield ""


def _calls(result: Result, peer: str) -> str:
    """Return the requests of the last round by operation."""
    samples = result.samples.get(peer)
    if not samples:
        return ""
    return ", ".join(f"{count} {operation}" for operation, count in _sorted(samples[-1].calls)) or "none"


def _sorted(calls: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(calls.items(), key=lambda call: -call[1])


def _ratio(result: Result, peer: str | None) -> str:
    """Return how many times as long as opendalfs a peer takes, with the goal."""
    ratio = None if peer is None else result.ratio(peer)
    if peer is None or ratio is None:
        return ""
    goal = AT_LEAST.get((result.name, peer))
    return f"**{ratio:.2f}x**" + ("" if goal is None else f" (>= {goal:g}x)")


def _inverse(result: Result, peer: str, goal: float | None) -> str:
    """Return how many times as long as a peer opendalfs takes, with the goal."""
    ratio = result.ratio(peer)
    if not ratio:
        return ""
    return f"**{1 / ratio:.2f}x**" + ("" if goal is None else f" (<= {goal:g}x)")


def _missed(result: Result) -> Iterator[str]:
    """Yield a sentence for each goal that is missed."""
    for peer in result.samples:
        ratio = result.ratio(peer)
        if not ratio:
            continue
        cause = GOAL_CAUSES.get((result.name, peer), "the cause is not known yet")
        least = AT_LEAST.get((result.name, peer))
        if least is not None and ratio < least:
            taken = f"**{result.name}**: {peer} takes {ratio:.2f} times as long, goal {least:g}: {cause}"
            yield f"{taken}.{_bound(result, peer)}"
        most = AT_MOST.get((result.name, peer), FIRST_AT_MOST if peer == UNCACHED else None)
        if most is not None and 1 / ratio > most:
            taken = f"opendalfs takes {1 / ratio:.2f} times as long as {peer}"
            yield f"**{result.name}**: {taken}, goal {most:g}: {cause}."


def _bound(result: Result, peer: str) -> str:
    """Return a sentence with how many times as long a peer takes as a local file: no cache is faster."""
    bound = result.ratio(peer, ours=ROUND_TRIP)
    return "" if bound is None else f" It takes {bound:.2f} times as long as a {ROUND_TRIP}."
