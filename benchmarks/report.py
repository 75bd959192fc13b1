"""Write the report: conditions, plots, how opendalfs compares with its peers and why, all figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import cache_report, network_report, plots
from benchmarks.cases.model import LIMIT, LOCAL, OURS, S3FS, TUNED
from benchmarks.causes import slower
from benchmarks.context import Settings
from benchmarks.runner import Result
from benchmarks.store import Run, load, measured
from benchmarks.tables import figure, notes

__all__ = ["write"]

_GROUPS = {
    "raw": "Raw: bytes in and out",
    "arrow": "Arrow",
    "duckdb": "DuckDB",
    "polars": "Polars",
    "cold": "Cold processes",
    "cache": "Cache on disk",
    "cost": "Cost of the library itself",
    "growth": "How it grows",
}
_GROWTH = {
    "latency": "pq.read_table, 4 of 16 columns of one file, the further away it is",
    "files": "pq.read_table of a directory, 3 columns, the more files it has",
}
_NOT_PEERS = {OURS, LIMIT, LOCAL}
_HOW = """\
In the plots, a dot to the right of the line is a peer that is slower than opendalfs. The bar around a dot
spans the single rounds; the axis is logarithmic. In the tables, 4.66x means that the peer takes 4.66 times
as long as opendalfs, and the range in brackets spans the single rounds.

All peers do the same work in the same run and take turns, round by round, so that noise affects all of
them. Figures are medians, ratios are ratios of medians. The results of all peers are compared with one
another.

- **Cold**: the client has nothing cached: no listing, size, footer or block. Its connections stay open, as
  in a long-lived process. DuckDB gets a new database each time. **Warm** is the same DuckDB connection a
  second time, with DuckDB's caches on.
- **s3fs, tuned**: 64 connections, blocks of 8 MiB, 32 at a time, no read-ahead.
- **limit**: the fewest round trips and bytes that the work needs, fetched by plain HTTP in pieces of 4 MiB
  on 32 connections, followed by the same work on local files. A reader that decodes while it fetches can be
  faster. For uploads: the parts by plain HTTP, 8 MiB each, 8 at a time.
- **local file**: the same work on a local file, which is the time for decoding alone.
- **CPU**: CPU time of the client process, all threads, with decoding. **Peak**: growth of its memory.
- **Cold processes**: each round is a new process, whose connections, threads and memory are new. The time is
  that of the call. **Interpreter and imports** is what a script takes before it, with pandas, which pyarrow
  imports. **Second time** is the same call again in that process, with a filesystem that has nothing cached;
  its requests are those of both.
- **Cache on disk**: as cold processes, with a cache that another process has filled by the same work, each
  in a directory of its own, in memory as files are that were read shortly before. **cache_ttl=None** is for
  files that never change. **filecache** and **blockcache** are those of fsspec with their defaults, which do
  not look whether a file has changed. **Local file and a round trip** is the same work on a local file, after
  a request of one byte.
- **DuckDB httpfs**: DuckDB 1.5 in a process of its own, because PyPI has httpfs for that version.
- **No delay**: the server is on this machine without added latency, which shows the client's own time.
- Polars' native store makes its requests without opendalfs, so `opendalfs.trace()` does not see them.
  Requests and bytes in this report are counted at the proxy, for all peers alike.
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
    report.write_text("\n".join(_lines(runs, results)) + "\n")
    return report


def _draw(runs: dict[str, Run], directory: Path) -> None:
    by_label = measured(runs.values())
    headlines = [by_label[label] for label in plots.HEADLINES if label in by_label]
    title = "Time taken by others, opendalfs = 1x"
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


def _lines(runs: dict[str, Run], results: Path) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield from _about(runs)
    yield ""
    yield f"![Time taken by others, opendalfs = 1x]({results.name}/overview.svg)"
    yield ""
    yield _HOW
    for group, run in runs.items():
        yield from _section(group, run, runs, results.name)
    yield from network_report.lines(results)


def _about(runs: dict[str, Run]) -> Iterator[str]:
    yield "Made by `make bench`; `make bench ARGS='-k arrow'` measures one group anew."
    yield ""
    yield "| measured | on | with |"
    yield "|---|---|---|"
    by_conditions: dict[tuple[str, str, str], list[str]] = {}
    for group, run in runs.items():
        by_conditions.setdefault(_conditions(run.about), []).append(group)
    for (date, machine, settings), groups in by_conditions.items():
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
    if group == "cache":
        yield from cache_report.lines(run.results)
    elif group not in ("cost", "growth"):
        yield from _compared(run.results)
    yield "<details><summary>All figures</summary>"
    yield ""
    for result in run.results:
        yield from _figures(result)
    yield "</details>"
    yield ""


def _compared(results: Sequence[Result]) -> Iterator[str]:
    """Write how many times longer than opendalfs each peer takes, and why where a peer is faster."""
    found = dict.fromkeys(p for r in results for p in r.samples if p not in _NOT_PEERS)
    peers = sorted(found, key=lambda peer: (peer != S3FS, peer != TUNED))
    if not peers:
        return
    yield f"| time taken, opendalfs = 1x | {' | '.join(peers)} |"
    yield f"|---|{'--:|' * len(peers)}"
    for result in results:
        yield f"| {result.name} | {' | '.join(_ratio(result, peer) for peer in peers)} |"
    yield ""
    sentences = [sentence for r in results for sentence in slower(r, peers, OURS)]
    if sentences:
        yield "Where a peer is faster:"
        yield ""
        yield from (f"- {sentence}" for sentence in sentences)
        yield ""


def _ratio(result: Result, peer: str) -> str:
    ratio = result.ratio(peer)
    if ratio is None:
        return ""
    rounds = result.ratios(peer)
    return f"**{ratio:.2f}x** ({min(rounds):.2f} - {max(rounds):.2f})"


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
