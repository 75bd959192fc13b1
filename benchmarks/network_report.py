"""The part of the report that compares networks: a row per case, a column per network, then a table each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.cases.model import LIMIT, LOCAL, OURS, S3FS
from benchmarks.networks import DEFAULT, NETWORKS, compared
from benchmarks.plots import NATIVE, NATIVES
from benchmarks.runner import Result
from benchmarks.store import load, measured
from benchmarks.tables import figure

__all__ = ["lines"]


def lines(results: Path) -> Iterator[str]:
    """Return the lines of the section; none without results of at least two networks.

    Parameters
    ----------
    results : Path
        Where the JSON files are.
    """
    found = {name: _of(results, name) for name in NETWORKS}
    found = {name: rows for name, rows in found.items() if rows}
    if len(found) < 2:
        return
    yield "## Networks"
    yield ""
    for name in found:
        yield f"- **{name}**: {NETWORKS[name].about}: {NETWORKS[name]}"
    yield ""
    yield from _overview(found)
    yield "<details><summary>All figures of each network</summary>"
    yield ""
    for name, rows in found.items():
        yield from _table(name, rows)
    yield "</details>"
    yield ""


def _of(results: Path, network: str) -> dict[str, Result]:
    directory = results if network == DEFAULT else results / network
    runs = load(directory).values()
    return {label: result for label, result in measured(runs).items() if compared(label)}


def _overview(found: dict[str, dict[str, Result]]) -> Iterator[str]:
    yield f"How many times as long {NATIVE} takes as opendalfs:"
    yield ""
    yield f"| | {' | '.join(found)} |"
    yield f"|---|{'--:|' * len(found)}"
    for label in dict.fromkeys(label for rows in found.values() for label in rows):
        yield f"| {label} | {' | '.join(_native(rows.get(label)) for rows in found.values())} |"
    yield ""


def _native(result: Result | None) -> str:
    peer = None if result is None else next((peer for peer in NATIVES if peer in result.samples), None)
    return "" if result is None or peer is None else figure(result.ratio(peer), ".2f") + "x"


def _table(network: str, rows: dict[str, Result]) -> Iterator[str]:
    peers = _peers(list(rows.values()))
    yield f"**{network}**: {NETWORKS[network]}"
    yield ""
    yield f"| seconds, and to ours | {OURS} | requests | {' | '.join(peers)} |"
    yield f"|---|--:|--:|{'--:|' * len(peers)}"
    for label, result in rows.items():
        ours = figure(result.median(OURS), ".3f"), figure(result.median(OURS, "requests"), ",.0f")
        yield f"| {label} | {' | '.join((*ours, *(_seconds(result, peer) for peer in peers)))} |"
    yield ""


def _peers(rows: Sequence[Result]) -> list[str]:
    found = dict.fromkeys(peer for result in rows for peer in result.samples)
    return [peer for peer in (S3FS, *NATIVES, LIMIT, LOCAL) if peer in found]


def _seconds(result: Result, peer: str) -> str:
    if peer not in result.samples:
        return ""
    return f"{figure(result.median(peer), '.3f')} ({figure(result.ratio(peer), '.2f')}x)"
