"""The end of the process: DuckDB's threads must be out of Python before the interpreter goes.

A result that was not read to its end has threads that still read. One that comes back into an interpreter
which is going down aborts the whole process. So at exit the queries of known connections are interrupted,
new calls are refused, which ends the queries of all others, and the last ones are waited for.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Final

from opendalfs.runtime import interrupts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["callback", "install", "watch"]

_PATIENCE: Final = 5.0
"""Seconds that threads are waited for at most."""

_QUIET: Final = 0.1
"""Seconds without any call after which nothing is taken to run: a query in error makes no more."""

_connections: weakref.WeakSet[DuckDBPyConnection] = weakref.WeakSet()
_lock = threading.Lock()
_inside = 0
_last = 0.0
_leaving = False
_installed = False
_engaged = interrupts.Engaged()


class _Callback(contextlib.ContextDecorator):
    """A context manager, and a decorator, for each call of DuckDB's; has no state, so one serves all threads.

    An exception leaves it without a traceback. DuckDB makes its error of the text that nanobind has for the
    exception, in which frames come first, and nobody would see our message. No frame is added when the
    ``with`` statement of the outermost function raises the exception again.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        global _inside, _last
        with _lock:
            _last = time.monotonic()
            if _leaving:
                raise RuntimeError("storage cannot be used while the interpreter exits")
            _inside += 1
        _engaged.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global _inside, _last
        _engaged.__exit__()
        with _lock:
            _inside -= 1
            _last = time.monotonic()
        if exc is not None:
            exc.__traceback__ = None


callback: Final = _Callback()


def install() -> None:
    """Take part in Ctrl-C and in the interpreter's exit; any number of times."""
    global _installed
    interrupts.watch()
    with _lock:
        if not _installed:
            _installed = True
            atexit.register(_leave)


def watch(con: DuckDBPyConnection) -> None:
    """Interrupt and close a connection at exit, if it still lives then."""
    install()
    _connections.add(con)


def _leave() -> None:
    global _leaving
    with _lock:
        _leaving = True
    for con in list(_connections):
        # One that the program has closed raises; nothing is left to be done there.
        with contextlib.suppress(Exception):
            con.interrupt()
            con.close()
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and (_inside or time.monotonic() - _last < _QUIET):
        time.sleep(0.005)
