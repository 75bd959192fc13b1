"""Calls from DuckDB into Python, and the connections that are interrupted at exit.

The threads of a result that was not read to its end still read when the program ends. At exit (see
`opendalfs.runtime.process`) the queries of known connections are interrupted; new calls are refused, which
ends the queries of all other connections.
"""

from __future__ import annotations

import contextlib
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Final

from opendalfs.runtime import interrupts, process
from opendalfs.runtime.engine_calls import EngineCall

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["callback", "interrupt_at_exit", "watch_process"]

_connections: weakref.WeakSet[DuckDBPyConnection] = weakref.WeakSet()


class _Callback(EngineCall):
    """A context manager and decorator for each call from DuckDB.

    It removes the traceback of an exception. DuckDB makes its error from nanobind's text of the exception, in
    which the frames come first and hide our message. The ``with`` statement of the outermost function adds no
    frame when it raises the exception again.
    """

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, exc, traceback)
        if exc is not None:
            exc.__traceback__ = None


callback: Final = _Callback()


def watch_process() -> None:
    """Make Ctrl-C and the exit of the interpreter end queries; further calls do nothing."""
    interrupts.watch()
    process.at_exit(_interrupt_connections)


def interrupt_at_exit(con: DuckDBPyConnection) -> None:
    """Interrupt and close a connection at exit, if it still exists then."""
    watch_process()
    _connections.add(con)


def _interrupt_connections() -> None:
    for con in list(_connections):
        # A connection that the program has closed raises.
        with contextlib.suppress(Exception):
            con.interrupt()
            con.close()
