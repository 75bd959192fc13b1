"""Runs all cells of an operation at a time, and writes their verdicts to a file."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import pytest

from opendalfs.testing import S3Server

from .cells import ALL, FAST, Cell
from .judge import ERROR, Lane, Verdict, make_pages
from .seen import Unseen
from .upstream import reason

LANES = 8
"""Cells at a time: most of them wait for a timeout."""

T = TypeVar("T")

FEW = 2
"""Cells at a time where the machine is the limit: multipart uploads have large parts, and Polars runs all
queries of a process in as many threads as there are cores."""

VERDICTS = "OPENDALFS_FAULTS"
"""Environment variable: path of a file to which each test process appends a line for each verdict."""


class Matrix:
    """The lanes of a test process, and the operations that have been run in them."""

    def __init__(self, lanes: list[Lane], selected: dict[str, list[Cell]]) -> None:
        self._lanes = lanes
        self._selected = selected
        self._few = threading.Semaphore(FEW)
        self._verdicts: dict[Cell, Verdict] = {}
        self.clean: dict[str, Counter[str]] = {}
        self.unseen: dict[str, list[str]] = {}

    def run(self, operation: str) -> None:
        """Run the selected cells of an operation, or of all if they are the fast ones; only once."""
        if operation in self.clean:
            return
        fast = operation in self._selected and all(set(cells) <= FAST for cells in self._selected.values())
        operations = [*self._selected] if fast else [operation]
        with Unseen() as unseen:
            self._share(operations, self._run_clean)
            self._share([cell for name in operations for cell in self._selected.get(name, ())], self._judge)
        self.unseen |= dict.fromkeys(operations, unseen.found)

    def _run_clean(self, lane: Lane, operation: str) -> None:
        self.clean[operation] = lane.clean(ALL[operation])

    def _judge(self, lane: Lane, cell: Cell) -> None:
        operation = ALL[cell.operation]
        few = "part" in operation.requests or operation.name.startswith("Polars")
        with self._few if few else nullcontext():
            self._judge_now(lane, cell)

    def _judge_now(self, lane: Lane, cell: Cell) -> None:
        clean = self.clean[cell.operation]
        verdict = lane.judge(cell, clean)
        late = cell.must_succeed and verdict.outcome == ERROR and "TimeoutError" in verdict.detail
        if late or "late: " in verdict.detail or not verdict.injected:
            # On a loaded machine the attempts that should succeed may exceed the short timeout too, or a
            # request before the one with the fault.
            verdict = lane.judge(cell, clean)
        self._verdicts[cell] = verdict
        _write(cell, verdict)

    def _share(self, items: Iterable[T], work: Callable[[Lane, T], None]) -> None:
        """Do the work for each item, each lane one at a time; raise the first error."""
        waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
        for item in items:
            waiting.put(item)
        errors: list[Exception] = []

        def work_in(lane: Lane) -> None:
            while not errors:
                try:
                    work(lane, waiting.get_nowait())
                except queue.Empty:
                    return
                except Exception as exc:
                    errors.append(exc)

        threads = [threading.Thread(target=work_in, args=(lane,)) for lane in self._lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def verdict(self, cell: Cell) -> Verdict:
        """Return the verdict of a cell; its operation is run if necessary."""
        self.run(cell.operation)
        return self._verdicts[cell]


def _write(cell: Cell, verdict: Verdict) -> None:
    if path := os.environ.get(VERDICTS):
        with Path(path).open("a") as file:
            file.write(json.dumps({**vars(cell), **verdict.to_dict(), "upstream": reason(cell)}) + "\n")


@pytest.fixture(scope="session")
def matrix(
    request: pytest.FixtureRequest, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Matrix]:
    """Yield the lanes, with the cells of all tests that are selected."""
    selected: dict[str, list[Cell]] = {}
    for item in request.session.items:
        callspec = getattr(item, "callspec", None)
        cell = callspec.params.get("cell") if callspec else None
        if isinstance(cell, Cell):
            selected.setdefault(cell.operation, []).append(cell)
    make_pages(s3_server)
    with ExitStack() as stack:
        lanes = []
        for number in range(LANES):
            lane = Lane(s3_server, tmp_path_factory.mktemp(f"lane-{number}"))
            lane.start()
            stack.callback(lane.stop)
            lanes.append(lane)
        yield Matrix(lanes, selected)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadscope`` run all cells of an operation in one process, so that they share lanes."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByOperation(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module, _, cell = nodeid.partition("[")
            return cell.rstrip("]").partition("-")[0] if "tests/faults/" in module else nodeid

    return ByOperation(config, log)
