"""Tables a person reads, and JSON a program reads."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.context import Settings
from benchmarks.runner import Result

_HEAD = ("", "seconds", "least - most", "to ours", "CPU s", "requests", "MB", "in flight")
_WIDTHS = (24, 8, 16, 8, 7, 9, 8, 10)
_PACKAGES = ("opendalfs", "opendal", "fsspec", "s3fs", "pyarrow")


def _line(cells: Iterable[str]) -> str:
    first, *rest = zip(cells, _WIDTHS, strict=True)
    return f"  {first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest)


def _row(result: Result, peer: str) -> str:
    least, most = result.spread(peer)
    ratio = result.ratio(peer)
    return _line(
        (
            peer,
            f"{result.median(peer, 'seconds'):.3f}",
            f"{least:.3f} - {most:.3f}",
            "-" if ratio is None else f"{ratio:.2f}x",
            f"{result.median(peer, 'cpu'):.2f}",
            f"{result.median(peer, 'requests'):,.0f}",
            f"{result.median(peer, 'bytes') / 1e6:,.1f}",
            f"{result.median(peer, 'in_flight'):.0f}",
        )
    )


def table(result: Result) -> str:
    """Show what a case gave.

    Parameters
    ----------
    result : Result
        What it gave.

    Returns
    -------
    str
        A table with a row per peer; figures are medians over the rounds.
    """
    rows = [_row(result, peer) for peer in result.samples]
    failures = [f"  {peer:<24}{error}" for peer, error in result.errors.items()]
    return "\n".join([result.label, _line(_HEAD), *rows, *failures])


def environment() -> dict[str, object]:
    """Describe what the figures depend on.

    Returns
    -------
    dict
        Python, processors, and the versions of the packages measured.
    """
    versions: dict[str, object] = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {"python": platform.python_version(), "cpus": os.cpu_count(), **versions}


def software() -> str:
    """Show the environment in one line.

    Returns
    -------
    str
        Such as ``python 3.13.1, cpus 8, ...``.
    """
    return ", ".join(f"{name} {value}" for name, value in environment().items())


def write_json(path: Path, settings: Settings, results: list[Result]) -> None:
    """Write everything that was measured.

    Parameters
    ----------
    path : Path
        The file; its directory is made.
    settings : Settings
        What was measured.
    results : list of Result
        What it gave.
    """
    document = {
        "environment": environment(),
        "settings": asdict(settings),
        "results": [result.to_dict() for result in results],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
