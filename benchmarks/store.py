"""Results as JSON: one file per group, so that a run of one group replaces only that file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.calibrate import Distance
from benchmarks.cases import CASES, GROUPS
from benchmarks.context import Settings
from benchmarks.networks import DEFAULT
from benchmarks.runner import Result

__all__ = ["RESULTS", "Run", "environment", "load", "save", "software"]

RESULTS = Path(__file__).with_name("results")
_PACKAGES = ("opendalfs", "opendal", "fsspec", "s3fs", "obstore", "pyarrow", "duckdb", "polars")


class Run:
    """The results of one run, and its conditions.

    Parameters
    ----------
    about : dict
        Environment, settings, distance and date.
    results : list of Result
        By case.
    """

    def __init__(self, about: dict[str, Any], results: list[Result]) -> None:
        self.about = about
        self.results = results

    @classmethod
    def now(cls, settings: Settings, distance: Distance | None, results: list[Result]) -> Run:
        """Return a run that ends now."""
        about = {
            "date": datetime.now(UTC).date().isoformat(),
            "environment": environment(),
            "settings": asdict(settings),
            "distance": asdict(distance) if distance else None,
        }
        return cls(about, results)


def environment() -> dict[str, object]:
    """Return what the figures depend on.

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
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        **versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def software() -> str:
    """Return the environment in one line.

    Returns
    -------
    str
        Such as ``python 3.13.1, cpus 8, ...``.
    """
    return ", ".join(f"{name} {value}" for name, value in environment().items())


def save(run: Run, directory: Path = RESULTS) -> None:
    """Write a file per group; cases that were not measured now keep their results.

    Results of a network other than the default one go to a directory of its name within the directory.

    Parameters
    ----------
    run : Run
        The run.
    directory : Path
        The directory; created if missing.
    """
    if run.about["settings"]["network"] != DEFAULT:
        directory /= run.about["settings"]["network"]
    directory.mkdir(parents=True, exist_ok=True)
    for group in dict.fromkeys(result.group for result in run.results):
        file = directory / f"{group}.json"
        known = {r["name"]: r for r in json.loads(file.read_text())["results"]} if file.exists() else {}
        known |= {r.name: {**r.to_dict(), "date": run.about["date"]} for r in run.results if r.group == group}
        document = {**run.about, "results": list(known.values())}
        file.write_text(json.dumps(document, indent=1) + "\n")


def load(directory: Path = RESULTS) -> dict[str, Run]:
    """Read the stored results, in the order of the cases.

    Parameters
    ----------
    directory : Path
        The directory.

    Returns
    -------
    dict
        A run by group.
    """
    order = {case.label: i for i, case in enumerate(CASES)}
    runs = {}
    for group in GROUPS:
        file = directory / f"{group}.json"
        if file.exists():
            document = json.loads(file.read_text())
            results = [Result.from_dict(_without_date(r)) for r in document.pop("results")]
            # Results of cases that were removed are left out.
            kept = sorted((r for r in results if r.label in order), key=lambda r: order[r.label])
            runs[group] = Run(document, kept)
    return runs


def _without_date(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if name != "date"}


def measured(runs: Iterable[Run]) -> dict[str, Result]:
    """Return all results by their label."""
    return {result.label: result for run in runs for result in run.results}
