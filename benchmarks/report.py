"""The report: what was measured on what, the ratios that were to be reached, plots, all figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.cases.model import LIMIT, LOCAL, OURS
from benchmarks.context import Settings
from benchmarks.runner import Result
from benchmarks.store import Run, load, measured
from benchmarks.tables import figure, notes
from benchmarks.targets import TARGETS, Target

__all__ = ["write"]

_GROUPS = {
    "raw": "Raw: bytes in and out",
    "arrow": "Arrow",
    "duckdb": "DuckDB",
    "polars": "Polars",
    "cost": "Cost of the library itself",
    "growth": "How it grows",
}
_GROWTH = {
    "latency": "pq.read_table, 4 of 16 columns of one file, the further away it is",
    "files": "pq.read_table of a directory, 3 columns, the more files it has",
}
_HOW = """\
A dot right of the line is a peer slower than opendalfs; the bar around it spans the single rounds. The axis
is logarithmic. Peers do the same work in the same run and take turns round by round, so that noise hits all
alike; figures are medians, and ratios are those of medians. All results were compared.

- **Cold** is a client that remembers nothing of what is stored: no listing, size, footer or block. Its
  connections stay open, as in a long-lived process. DuckDB gets a new database each time. "Warm" is the same
  connection once more, with DuckDB's caches on.
- **s3fs, tuned** has 64 connections, blocks of 8 MiB, 32 at a time, and no readahead.
- **limit** is the fewest round trips and bytes that the work needs, fetched by plain HTTP in pieces of 4 MiB
  on 32 connections, and then the same work on local files; who decodes while it fetches can beat it.
  Of an upload it is its parts by plain HTTP, 8 MiB each, 8 at a time.
- **local file** is the same work with no storage: decoding alone.
- **CPU** is that of the client's process, all threads, with the decoding. **Peak** is by how much its memory
  grew.
- **DuckDB httpfs** is DuckDB 1.5 in a process of its own, as httpfs is on PyPI for that.
- **No delay** is the server on this machine: what the client itself takes.
- Polars' own store makes its requests by itself, so `opendalfs.trace()` does not see them; requests and bytes
  here are counted at the proxy, for all peers alike.
"""


def write(results: Path) -> Path:
    """Write ``REPORT.md`` beside the directory of results, and the plots into it.

    Parameters
    ----------
    results : Path
        Where the JSON files are.

    Returns
    -------
    Path
        The report.
    """
    runs = load(results)
    if not runs:
        raise SystemExit(f"no results in {results}: run `python -m benchmarks` first")
    _draw(runs, results)
    report = results.parent / "REPORT.md"
    report.write_text("\n".join(_lines(runs, results.name)) + "\n")
    return report


def _draw(runs: dict[str, Run], directory: Path) -> None:
    by_label = measured(runs.values())
    headlines = [by_label[label] for label in plots.HEADLINES if label in by_label]
    title = "How many times longer than opendalfs others take"
    plots.dots(headlines, title, directory / "overview.svg", overview=True)
    for group, run in runs.items():
        if group != "growth":
            plots.dots(run.results, _GROUPS[group], directory / f"{group}.svg")
    for name, found in _grown(runs).items():
        plots.lines(found, _GROWTH[name], directory / f"{name}.svg")


def _grown(runs: dict[str, Run]) -> dict[str, list[Result]]:
    results = runs["growth"].results if "growth" in runs else []
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.axis and OURS in result.samples:
            found.setdefault(result.axis["plot"], []).append(result)
    return found


def _lines(runs: dict[str, Run], folder: str) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield from _about(runs)
    yield ""
    yield f"![How many times longer than opendalfs others take]({folder}/overview.svg)"
    yield ""
    yield _HOW
    for group, run in runs.items():
        yield from _section(group, run, runs, folder)


def _about(runs: dict[str, Run]) -> Iterator[str]:
    yield "Made by `make bench`; `make bench ARGS='-k arrow'` measures one group anew."
    yield ""
    yield "| measured | on | with |"
    yield "|---|---|---|"
    told: dict[tuple[str, str, str], list[str]] = {}
    for group, run in runs.items():
        told.setdefault(_conditions(run.about), []).append(group)
    for (date, machine, settings), groups in told.items():
        yield f"| {date}: {', '.join(groups)} | {machine} | {settings} |"
    versions = next(iter(runs.values())).about["environment"]
    names = [n for n in versions if n not in ("python", "system", "cpu", "cpus")]
    yield ""
    yield ", ".join(f"{name} {versions[name]}" for name in names) + "."


def _conditions(about: dict[str, Any]) -> tuple[str, str, str]:
    env = about["environment"]
    machine = f"{env['cpus']} cores of {env['cpu']}, {env['system']}, Python {env['python']}"
    settings = str(Settings(**about["settings"]))
    distance = about["distance"]
    if distance:
        settings += f" (measured: {distance['latency'] * 1e3:.1f} ms, {distance['bandwidth'] / 1e6:.0f} MB/s)"
    return about["date"], machine, settings


def _section(group: str, run: Run, runs: dict[str, Run], folder: str) -> Iterator[str]:
    yield f"## {_GROUPS[group]}"
    yield ""
    if group == "growth":
        for name in _grown(runs):
            yield f"![{_GROWTH[name]}]({folder}/{name}.svg)"
            yield ""
    else:
        yield f"![{_GROUPS[group]}]({folder}/{group}.svg)"
        yield ""
    yield from _reached(group, run.results)
    yield "<details><summary>All figures</summary>"
    yield ""
    for result in run.results:
        yield from _figures(result)
    yield "</details>"
    yield ""


def _reached(group: str, results: Sequence[Result]) -> Iterator[str]:
    """Show the ratios that the project set itself, and what came of them."""
    by_label = {result.label: result for result in results}
    targets = [t for t in TARGETS if t.label in by_label and t.reached(by_label[t.label]) is not None]
    if not targets:
        return
    yield "| work | against | of | to reach | reached | rounds | |"
    yield "|---|---|---|--:|--:|--:|---|"
    for target in targets:
        yield _target(target, by_label[target.label])
    yield ""


def _target(target: Target, result: Result) -> str:
    ratio = target.reached(result)
    assert ratio is not None
    rounds = result.ratios(target.peer, target.what, target.ours)
    work = result.name if target.ours == OURS else f"{result.name}: {target.ours}"
    what = {"seconds": "time", "cpu": "CPU"}[target.what]
    cells = (
        work,
        target.peer,
        what,
        f"{target.ratio:.2f}x",
        f"**{ratio:.2f}x**",
        f"{min(rounds):.2f} - {max(rounds):.2f}",
        "yes" if ratio >= target.ratio else f"no{_most(target, result)}",
    )
    return f"| {' | '.join(cells)} |"


def _most(target: Target, result: Result) -> str:
    """Tell how far one could get at most, where the limit was measured."""
    most = result.ratio(target.peer, target.what, LIMIT) or result.ratio(target.peer, target.what, LOCAL)
    return f"; the limit is at {most:.2f}x" if most else ""


def _figures(result: Result) -> Iterator[str]:
    yield f"**{result.name}**"
    yield ""
    yield "| | seconds | least - most | to ours | CPU s | peak MB | requests | MB | in flight |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for peer in result.samples:
        yield f"| {' | '.join(_cells(result, peer))} |"
    yield ""
    for note in notes(result):
        yield f"- {note}"
    yield ""


def _cells(result: Result, peer: str) -> Iterable[str]:
    least, most = result.spread(peer)
    memory, moved = result.median(peer, "memory"), result.median(peer, "bytes")
    ratio = result.ratio(peer)
    return (
        f"**{peer}**" if peer == OURS else peer,
        figure(result.median(peer), ".3f"),
        f"{least:.3f} - {most:.3f}",
        "" if peer == OURS else figure(ratio, ".2f") + "x",
        figure(result.median(peer, "cpu"), ".3f"),
        figure(None if memory is None else memory / 1e6, ",.0f"),
        figure(result.median(peer, "requests"), ",.0f"),
        figure(None if moved is None else moved / 1e6, ",.1f"),
        figure(result.median(peer, "in_flight"), ".0f"),
    )
