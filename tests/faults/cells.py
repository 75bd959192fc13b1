"""The cells of the matrix: operations, faults and the requests that are affected."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from opendalfs.testing import FAULTS, Fault

from .changes import CHANGES
from .engines import ENGINES
from .lookups import LOOKUPS
from .operation import MANY, Operation
from .peers import PEERS
from .reads import READS
from .writes import WRITES

__all__ = [
    "ALL",
    "CELLS",
    "ENDPOINT",
    "FAST",
    "LYING",
    "OPERATIONS",
    "PEER_CELLS",
    "SCHEDULES",
    "TEMPORARY",
    "Cell",
    "Schedule",
]

OPERATIONS = {operation.name: operation for operation in (*READS, *LOOKUPS, *WRITES, *CHANGES, *ENGINES)}
"""The operations of opendalfs, by name."""

ALL = {
    **OPERATIONS,
    **{operation.name: operation for operations in PEERS.values() for operation in operations},
}
"""The operations of other libraries too."""

ENDPOINT = "endpoint"
"""In place of a kind of request: the fault is one of the whole endpoint."""


class Schedule(NamedTuple):
    """Which requests of a kind are affected: `times`, or all for None, from the `nth` on."""

    nth: int
    times: int | None


SCHEDULES = {
    "once": Schedule(1, 1),
    "twice": Schedule(1, 2),
    "always": Schedule(1, None),
    "later": Schedule(2, 1),
    "later-always": Schedule(2, None),
}

TEMPORARY = frozenset(
    {
        "status-500",
        "status-502",
        "status-503",
        "status-429",
        "reset-before",
        "reset-upload",
        "reset-body",
        "short-body",
        "short-chunked",
        "stall-before",
        "stall-body",
        "after-500",
        "after-reset",
        "after-stall",
    }
)
"""Faults that another attempt does not have."""

_REPEATED = frozenset({"status-503", "reset-before", "short-body", "after-500"})
"""Those of them that are also tested twice in a row: one of each class."""

LYING = frozenset({"status-404", "list-empty", "deleted"})
"""Valid answers of the server that objects are missing."""

LEFT_OUT = frozenset({"throttle", "slow"})
"""Faults that are tested elsewhere: the first needs many requests, the second harms nothing."""


@dataclass(frozen=True)
class Cell:
    """One operation under one fault.

    Parameters
    ----------
    operation : str
        Name in `OPERATIONS`.
    kind : str
        Kind of the affected requests, or `ENDPOINT`.
    fault : str
        Name in `FAULTS`.
    schedule : str
        Name in `SCHEDULES`.
    """

    operation: str
    kind: str
    fault: str
    schedule: str

    @property
    def must_succeed(self) -> bool:
        """Whether one more attempt is all it takes: an error is not good enough."""
        if (self.kind, self.fault) == ("get", "short-chunked"):
            # OpenDAL refuses a whole object without Content-Length, and rightly does not try again.
            return False
        return self.fault in TEMPORARY and self.schedule in ("once", "later")

    def __str__(self) -> str:
        return f"{self.operation}-{self.kind}-{self.fault}-{self.schedule}"

    def inject(self, key: str) -> Fault:
        """Return the fault for requests whose path contains a key."""
        schedule = SCHEDULES[self.schedule]
        kind = "any" if self.kind == ENDPOINT else self.kind
        if self.kind == "delete-many":
            # The keys are in the body of the request.
            key = ""
        return Fault(kind, self.fault, nth=schedule.nth, times=schedule.times, key=key)


def _cells(operation: Operation) -> Iterator[Cell]:
    for name, fault in FAULTS.items():
        if name in LEFT_OUT:
            continue
        if not fault.kinds:
            yield Cell(operation.name, ENDPOINT, name, "always")
        for kind, count in operation.requests.items():
            if kind in fault.kinds:
                for schedule in _schedules(name, count):
                    yield Cell(operation.name, kind, name, schedule)


def _schedules(fault: str, count: int) -> Iterator[str]:
    yield "once"
    if fault in _REPEATED:
        yield "twice"
    yield "always"
    if count == MANY:
        yield "later"
        if fault not in TEMPORARY:
            yield "later-always"


CELLS = [cell for operation in OPERATIONS.values() for cell in _cells(operation)]
"""The cells of opendalfs."""

PEER_CELLS = {
    name: [cell for operation in found for cell in _cells(operation)] for name, found in PEERS.items()
}
"""The cells of other libraries, by library."""


def _is_slow(cell: Cell) -> bool:
    """Whether a cell takes a whole timeout."""
    waits = cell.fault in ("trickle", "black-hole", "unreachable") or "stall" in cell.fault
    return waits and cell.schedule not in ("once", "later")


def _fast() -> frozenset[Cell]:
    """Choose about a twentieth of the cells: some of each operation, each fault, and each kind of requests.

    Parts are large, so that each fault of a multipart upload would take too long.
    """
    ordered = sorted(CELLS, key=lambda cell: (_is_slow(cell), hashlib.md5(str(cell).encode()).digest()))
    chosen: set[Cell] = set()
    seen: set[object] = set()
    for cell in ordered:
        uploads = "part" in OPERATIONS[cell.operation].requests
        new = {cell.operation, cell.fault, cell.kind}
        if not uploads:
            new.add((cell.kind, cell.fault))
        if not new <= seen:
            chosen.add(cell)
            seen |= new
    return frozenset(chosen)


FAST = _fast()
"""The cells that `make test` runs too."""
