"""Measure a piece of work: seconds, CPU time, memory."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

__all__ = ["Elsewhere", "timed"]

_STATUS = Path("/proc/self/status")
_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Elsewhere:
    """The result of a piece of work, and what it took, when another process measured it.

    Parameters
    ----------
    outcome : object
        The result.
    seconds, cpu : float
        Wall time and CPU time.
    memory : int or None
        Growth of the resident set in bytes; None where it cannot be measured.
    calls : dict
        Requests of opendalfs by operation, such as ``{"stat": 1}``; empty where it was not traced.
    """

    outcome: Any
    seconds: float
    cpu: float
    memory: int | None
    calls: dict[str, int] = field(default_factory=dict)


def timed(work: Callable[[], Any]) -> Elsewhere:
    """Do the work in this process and measure it.

    CPU time is that of all threads. Memory is the growth of the resident set to its peak, after allocators
    have returned unused memory.

    Parameters
    ----------
    work : callable
        The work; work of another process returns an `Elsewhere`.

    Returns
    -------
    Elsewhere
        What it took.
    """
    before = _settled()
    cpu, start = time.process_time(), time.perf_counter()
    outcome = work()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    if isinstance(outcome, Elsewhere):
        return outcome
    peak = _resident("VmHWM")
    memory = None if before is None or peak is None else max(0, peak - before)
    return Elsewhere(outcome, seconds, cpu, memory)


def _settled() -> int | None:
    """Return unused memory to the system, reset the peak, and return the resident memory."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _REFS.write_text("5")
    except OSError:
        return None
    return _resident("VmRSS")


def _resident(name: str) -> int | None:
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
