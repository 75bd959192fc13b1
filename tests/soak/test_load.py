"""Threads and tasks at work for long: every byte is right, and memory, open files and threads do not grow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import pytest

from opendalfs.testing import S3Server
from tests.soak.usage import Usage

ROOT = Path(__file__).resolve().parents[2]

THREADS, TASKS = 64, 200

GROWTH_MB = 40.0
"""Most megabytes by which the last quarter of the samples may exceed the second one."""

GROWTH_FILES = 64
GROWTH_THREADS = 128
"""A local disk has a file open for each call in flight, and the pool keeps up to 128 idle workers."""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def put_under_load(
    service: str,
    options: dict[str, Any],
    root: str,
    operations: int,
    threads: int = THREADS,
    tasks: int = TASKS,
) -> tuple[list[Usage], float]:
    """Return the samples of a process, and its seconds."""
    order = {"service": service, "options": options, "root": root, "operations": operations}
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.load", json.dumps({**order, "threads": threads, "tasks": tasks})],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1000,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["failed"] == []
    samples = [Usage(*sample) for sample in told["samples"]]
    assert samples[-1].operations >= operations * 0.95
    return samples, told["seconds"]


def quarter(samples: list[Usage], number: int, field: str) -> float:
    size = len(samples) // 4
    return median(getattr(sample, field) for sample in samples[size * number : size * (number + 1)])


def check_flat(samples: list[Usage], name: str, seconds: float, figures: list[str]) -> None:
    fields = ("megabytes", "files", "threads")
    begun = [quarter(samples, 1, field) for field in fields]
    ended = [quarter(samples, 3, field) for field in fields]
    rate = samples[-1].operations / seconds
    pairs = zip(("MB", "open files", "threads"), begun, ended, strict=True)
    shown = ", ".join(f"{a:.0f} -> {b:.0f} {unit}" for unit, a, b in pairs)
    figures.append(f"{name}: {samples[-1].operations:,} operations, {rate:,.0f}/s: {shown}")
    for limit, before, after, field in zip(
        (GROWTH_MB, GROWTH_FILES, GROWTH_THREADS), begun, ended, fields, strict=True
    ):
        assert after - before <= limit, (field, samples)


@pytest.mark.soak
@pytest.mark.timeout(1000)
@pytest.mark.parametrize(("service", "operations"), [("s3", 100_000), ("fs", 100_000), ("memory", 100_000)])
def test_a_process_under_load_reads_right_and_does_not_grow(
    request: pytest.FixtureRequest, figures: list[str], tmp_path: Path, service: str, operations: int
) -> None:
    options: dict[str, Any] = {}
    root = uuid4().hex
    if service == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        options, root = server.options, request.getfixturevalue("prefix")
    elif service == "fs":
        root = str(tmp_path / "load")
    samples, seconds = put_under_load(service, options, root, operations)
    check_flat(samples, service, seconds, figures)


def test_a_short_load_reads_right() -> None:
    samples, _ = put_under_load("memory", {}, uuid4().hex, 2_000, threads=4, tasks=8)
    assert len(samples) >= 40
