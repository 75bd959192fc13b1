"""What a piece of work takes: seconds, processor, memory."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

__all__ = ["Elsewhere", "timed"]

_STATUS = Path("/proc/self/status")
_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Elsewhere:
    """What a piece of work took that was done in another process, and what came of it.

    Parameters
    ----------
    outcome : object
        What came of it.
    seconds, cpu : float
        Wall and processor time.
    memory : int or None
        Bytes that the process grew by at most; None where that cannot be told.
    """

    outcome: Any
    seconds: float
    cpu: float
    memory: int | None


def timed(work: Callable[[], Any]) -> Elsewhere:
    """Do the work in this process and tell what it took.

    Processor time is that of all threads. Memory is the peak of the resident set above where it stood, after
    what allocators held for later was given back.

    Parameters
    ----------
    work : callable
        The work; one that was done elsewhere gives an `Elsewhere`.

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
    """Give back what is held for later, forget the former peak, and give the memory in use."""
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
