"""Runs one cell of the matrix within a bounded time, and judges what happened."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import opendalfs
from opendalfs.testing import FaultProxy, S3Server

from .cells import ALL, LYING, Cell
from .operation import OPTIONS, PAGES, Objects, Operation, Place

__all__ = ["ERROR", "RIGHT", "WRONG", "Lane", "Verdict", "make_pages"]

RIGHT = "right"
"""The result and the objects are what they would be without the fault."""
ERROR = "error"
"""A clear OSError in time; each object has its old or its new content."""
WRONG = "wrong"
"""Anything else."""

LOADED = 3.0
"""Seconds that a cell may take longer on a loaded machine, where the matrix runs 16 cells at a time."""

_HANGS = 10.0
"""Seconds after which a cell is abandoned, besides its timeouts."""

_LINE = 120
_TRIES = 5
"""Runs after the fault: a loaded machine may exceed the timeout, and the proxy may change an object late."""
_REPEATED_ENTRIES = 64
"""Entries after which the first page of a listing is checked for repeated keys; see storage/paging.py."""
_REDIRECTS = 10
"""Redirects that the HTTP client of the wheel follows for one request."""


@dataclass(frozen=True)
class Verdict:
    """What happened in a cell.

    Parameters
    ----------
    outcome : str
        `RIGHT`, `ERROR` or `WRONG`.
    detail : str
        The error, or what is wrong.
    seconds : float
        Duration of the operation.
    requests : int
        Requests that reached the proxy.
    injected : int
        Faults that the proxy injected.
    """

    outcome: str
    detail: str
    seconds: float
    requests: int
    injected: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@dataclass(frozen=True)
class _Run:
    """One run of an operation: its result or its error."""

    seconds: float
    result: Any = None
    error: BaseException | None = None
    hung: bool = False


class Lane:
    """Runs cells one by one, behind a proxy of its own.

    Parameters
    ----------
    server : S3Server
        The server.
    directory : Path
        For local files.
    """

    def __init__(self, server: S3Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.proxy = FaultProxy(server.endpoint)

    def start(self) -> None:
        """Start the proxy."""
        self.proxy.__enter__()

    def stop(self) -> None:
        """Stop the proxy."""
        self.proxy.__exit__(None, None, None)

    def place(self, operation: Operation) -> Place:
        """Return a new place with the objects of an operation."""
        name = f"faults/{uuid4().hex[:12]}"
        local = self.directory / name.rpartition("/")[2]
        local.mkdir()
        options = {**self.proxy.through(self.server.options), **OPTIONS, **operation.options}
        if operation.shared:
            return Place(self.server, "faults/pages", options, local)
        place = Place(self.server, name, options, local)
        place.put(operation.before)
        return place

    def clean(self, operation: Operation) -> Counter[str]:
        """Run an operation without a fault, and return the requests that it sends.

        Raises
        ------
        AssertionError
            If the operation is not right without a fault.
        """
        place = self.place(operation)
        self.proxy.clear()
        run = _bounded(operation, place)
        requests = Counter(self.proxy.requests())
        problem = _problem(operation, place, run, "")
        assert run.error is None, run.error
        assert problem is None, f"{operation.name} without a fault: {problem}"
        self._remove(place, operation)
        return requests

    def judge(self, cell: Cell, clean: Counter[str]) -> Verdict:
        """Run a cell.

        Parameters
        ----------
        cell : Cell
            The operation and the fault.
        clean : Counter
            The requests of the operation without a fault.

        Returns
        -------
        Verdict
        """
        operation = ALL[cell.operation]
        place = self.place(operation)
        self._end_outage(place)
        self.proxy.clear()
        self.proxy.inject(cell.inject("" if operation.shared else place.prefix))
        run = _bounded(operation, place)
        requests, injected = Counter(self.proxy.requests()), self.proxy.injected()
        self.proxy.clear()
        problems = list(self._problems(cell, place, run, requests, clean, injected))
        outcome = WRONG if problems else RIGHT if run.error is None else ERROR
        detail = "; ".join(problems) or (_describe(run.error) if run.error else "")
        self._remove(place, operation)
        return Verdict(outcome, detail, round(run.seconds, 2), requests.total(), injected)

    @staticmethod
    def _end_outage(place: Place) -> None:
        """Have one request accepted: calls have little patience while a server has refused all for long."""
        opendalfs.S3FileSystem(skip_instance_cache=True, **place.options).exists(place.root)

    def _problems(
        self,
        cell: Cell,
        place: Place,
        run: _Run,
        requests: Counter[str],
        clean: Counter[str],
        injected: int,
    ) -> Iterator[str]:
        operation = ALL[cell.operation]
        if run.hung:
            yield f"hangs: no result after {run.seconds:.0f} s"
            return
        if not injected:
            yield "no request had the fault"
        calls = operation.calls if run.error is None else operation.fails
        late = 1.1 * calls * _timeout(operation) + LOADED
        if run.seconds > late:
            yield f"late: {run.seconds:.1f} s, at most {late:.1f} s"
        most = request_bound(clean, operation, cell.fault)
        if requests.total() > most:
            yield f"{requests.total()} requests, at most {most}: {dict(requests)}"
        problem = _problem(operation, place, run, cell.fault)
        if problem:
            yield problem
        problem = self._again(cell, operation, place)
        if problem:
            yield f"afterwards, on the same filesystem: {problem}"

    def _again(self, cell: Cell, operation: Operation, place: Place) -> str | None:
        """Run the operation again without the fault; return what is wrong."""
        problem = None
        for _ in range(_TRIES):
            if cell.fault in LYING or cell.fault == "overwritten":
                # The objects were changed by somebody else, or a listing that lacks them may be cached.
                if not operation.shared:
                    place.put(operation.before)
                place.fs.invalidate_cache()
            for path in place.local.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            run = _bounded(operation, place)
            problem = _again_problem(operation, place, run)
            changed = cell.fault in LYING or cell.fault == "overwritten"
            if problem is None or not (changed or _is_late(run.error)):
                break
        return problem

    def _remove(self, place: Place, operation: Operation) -> None:
        shutil.rmtree(place.local, ignore_errors=True)
        if not operation.shared:
            place.put({})


def make_pages(server: S3Server) -> None:
    """Write the directory with `PAGES` keys that all cells share."""
    fs = opendalfs.S3FileSystem(**server.options)
    root = f"{server.bucket}/faults/pages"
    if len(fs.find(root)) != PAGES:
        fs.pipe({f"{root}/{number:04}": b"x" for number in range(PAGES)})


def _timeout(operation: Operation) -> float:
    """Return the longest time in seconds that one call may take."""
    options = {**OPTIONS, **operation.options}
    return max(float(options["timeout"]), float(options["io_timeout"]))


def request_bound(clean: Counter[str], operation: Operation, fault: str) -> int:
    """Return how many requests a run with faults may send.

    Each request that a run without faults sends may be sent `retries` times more; the calls that clean up
    after a failure are bounded by the same number.
    """
    attempts = int(OPTIONS["retries"]) + 1
    if fault == "status-307":
        attempts *= 1 + _REDIRECTS
    most = attempts * (clean.total() + sum(operation.besides.values()) + operation.calls)
    return most + (_REPEATED_ENTRIES if fault == "list-repeated" else 0)


def _bounded(operation: Operation, place: Place) -> _Run:
    """Run an operation in a thread, and abandon it if it hangs."""
    outcome: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((operation.run(place), None))
        except BaseException as exc:
            outcome.append((None, exc))

    thread = threading.Thread(target=run, daemon=True)
    started = time.monotonic()
    thread.start()
    thread.join((4 + operation.calls) * _timeout(operation) + _HANGS)
    seconds = time.monotonic() - started
    if not outcome:
        return _Run(seconds, hung=True)
    result, error = outcome[0]
    return _Run(seconds, result, error)


def _describe(error: BaseException | None) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _is_late(error: BaseException | None) -> bool:
    """Whether a loaded machine can be the reason; engines raise exceptions of their own with our text."""
    text = str(error)
    return isinstance(error, TimeoutError) or "No response in time" in text or "a write was lost" in text


def _problem(operation: Operation, place: Place, run: _Run, fault: str) -> str | None:
    """Return what is wrong with a result, an error and the objects that are left; None if nothing is."""
    changed = fault in LYING or fault == "overwritten"
    if run.error is not None:
        problem = _error_problem(operation, run.error)
    elif _is_right(operation, run.result, fault):
        problem = None
    else:
        problem = f"wrong result: {_shorten(run.result)}"
    return problem or _state_problem(operation, place, complete=run.error is None, changed=changed)


def _again_problem(operation: Operation, place: Place, run: _Run) -> str | None:
    if run.hung:
        return "hangs"
    if isinstance(run.error, FileNotFoundError) and operation.after is not None:
        # What failed had been done, so that nothing is left to move or to remove.
        return _state_problem(operation, place, complete=not operation.partial, changed=False)
    if run.error is not None:
        return _describe(run.error)
    return _problem(operation, place, run, "")


def _error_problem(operation: Operation, error: BaseException) -> str | None:
    if isinstance(error, operation.errors):
        return None
    if not isinstance(error, OSError):
        return f"no OSError: {_describe(error)}"
    # The name of the bucket and the endpoint may be of any length.
    first = (error.strerror or "").partition("\n")[0].partition(" (")[0]
    if error.errno is None or not first:
        return f"no errno or no text: {error!r}"
    if len(first) > _LINE:
        return f"the first line has {len(first)} characters: {first}"
    return None


def _is_right(operation: Operation, result: Any, fault: str) -> bool:
    if result == operation.result(operation.before):
        return True
    if fault in LYING and any(result == misled for misled in operation.misled):
        return True
    return fault == "overwritten" and any(
        result == operation.result(o) for o in overwritten(operation.before)
    )


def overwritten(objects: Objects) -> Iterator[Objects]:
    """Yield the objects with each choice of them overwritten as the proxy does it."""
    for count in range(1, len(objects) + 1):
        for chosen in itertools.combinations(objects, count):
            yield {**objects, **{name: b"!" * len(objects[name]) for name in chosen}}


def _state_problem(operation: Operation, place: Place, *, complete: bool, changed: bool) -> str | None:
    """Compare the objects with what must be there: all of `after`, or of each object the old or the new.

    `changed`: another writer may have overwritten or deleted them too.
    """
    if not operation.writes:
        return None
    found = place.objects()
    if operation.after is None:
        check: Callable[[Place, Objects], str | None] | None = operation.check
        assert check is not None
        return check(place, found) if complete else _old_problem(operation, found)
    if complete and not changed and found != operation.after:
        return f"success, but not done: {_difference(operation.after, found)}"
    names = found.keys() | operation.before.keys() | operation.after.keys()
    for name in names - set(operation.staged):
        states = [operation.before.get(name), operation.after.get(name)]
        if changed:
            contents = (*operation.before.values(), *operation.after.values())
            states += [None, *(b"!" * len(data) for data in contents)]
        if found.get(name) not in states:
            return f"neither old nor new: {name!r} is {_shorten(found.get(name))}"
    if operation.moves and not changed:
        lost = [name for name, data in operation.before.items() if not _is_kept(operation, found, name, data)]
        if lost:
            return f"lost: the content of {lost}"
    return None


def _is_kept(operation: Operation, found: Objects, name: str, data: bytes) -> bool:
    """Whether a content exists, or its object is one that the operation overwrites."""
    assert operation.after is not None
    return data in found.values() or data not in operation.after.values()


def _old_problem(operation: Operation, found: Objects) -> str | None:
    """Compare the objects after a failure, where new content cannot be recognised."""
    lost = [name for name, data in operation.before.items() if found.get(name) != data]
    return f"lost or changed: {lost}" if lost else None


def _difference(expected: Objects, found: Objects) -> str:
    names = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    return ", ".join(f"{name!r} is {_shorten(found.get(name))}" for name in sorted(names)[:4])


def _shorten(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes, {value[:16]!r}..."
    return repr(value)[:200]
