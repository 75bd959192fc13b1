"""The part of the README that shows what was measured: one plot, and the head of the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.cases.model import OURS, S3FS
from benchmarks.plots import HEADLINES, NATIVE, NATIVES
from benchmarks.runner import Result
from benchmarks.store import Run, load, measured
from benchmarks.tables import figure

__all__ = ["update"]

BEGIN = "<!-- benchmarks: `make bench` writes what stands from here -->"
END = "<!-- to here -->"


def update(results: Path, readme: Path) -> None:
    """Write the measured part of the README anew; the rest of it stays.

    Parameters
    ----------
    results : Path
        Where the JSON files are.
    readme : Path
        The README, with the two marks.

    Raises
    ------
    ValueError
        When the marks are missing.
    """
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme} lacks the marks {BEGIN!r} and {END!r}")
    lines = "\n".join(_lines(load(results), results.relative_to(readme.parent)))
    readme.write_text(f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}")


def _lines(runs: dict[str, Run], folder: Path) -> Iterator[str]:
    by_label = measured(runs.values())
    shown = [by_label[label] for label in HEADLINES if label in by_label]
    yield f"![Time taken by others, opendalfs = 1x]({folder.as_posix()}/overview.svg)"
    yield ""
    yield f"| work | opendalfs | s3fs | {NATIVE} |"
    yield "|---|--:|--:|--:|"
    for result in shown:
        yield f"| {result.label} | {figure(result.median(OURS), '.2f')} s | {_against(result)} |"
    yield ""
    about = {(run.about["date"], _machine(run)) for run in runs.values()}
    for date, machine in sorted(about):
        yield f"Measured on {date}, {machine}."


def _against(result: Result) -> str:
    peers = (S3FS, f"scan_pyarrow_dataset, {S3FS}"), NATIVES
    found = (next((peer for peer in some if peer in result.samples), None) for some in peers)
    return " | ".join("" if peer is None else f"{figure(result.ratio(peer), '.1f')}x" for peer in found)


def _machine(run: Run) -> str:
    env = run.about["environment"]
    return f"{env['cpus']} cores of {env['cpu']}"
