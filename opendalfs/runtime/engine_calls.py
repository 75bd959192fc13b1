"""Calls from an engine, such as Arrow or DuckDB, into Python: counted, refused at exit, ended by Ctrl-C."""

from __future__ import annotations

from contextlib import ContextDecorator
from types import TracebackType
from typing import Final

from . import interrupts, process

__all__ = ["EngineCall", "engine_call"]


_scope: Final = interrupts.EngineScope()


class EngineCall(ContextDecorator):
    """A context manager and decorator around one call of an engine.

    It has no state, so that one serves all threads. `process.drain` waits for the calls in it, and Ctrl-C
    ends what they wait for.

    Raises
    ------
    RuntimeError
        While the interpreter exits.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        process.begin_engine_call()
        _scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _scope.__exit__()
        process.end_engine_call()


engine_call: Final = EngineCall()
