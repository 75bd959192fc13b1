"""Memory, open files and threads of this process, as Linux counts them."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["Usage", "peak_megabytes"]


def _status(field: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{field}:"))


class Usage(NamedTuple):
    """What the process uses at one moment."""

    operations: int
    megabytes: float
    files: int
    threads: int

    @classmethod
    def now(cls, operations: int) -> Usage:
        """Return the usage after a number of operations."""
        return cls(operations, _status("VmRSS") / 1000, len(os.listdir("/proc/self/fd")), _status("Threads"))


def peak_megabytes() -> float:
    """Return the most memory that the process has held since it started."""
    return _status("VmHWM") / 1000
