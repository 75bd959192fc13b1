"""Ctrl-C while the main thread is inside an engine: the waits of the engine's own threads end with an error.

Python runs signal handlers in the main thread, once that thread returns to Python. DuckDB and Polars return
when their threads do, and those may wait for storage. So a thread of ours reads the socket of
`signal.set_wakeup_fd`, to which Python writes at once, and ends these waits.

It does so only while SIGINT has Python's own handler, and only when two things are true a quarter of a second
later: the main thread is still at the same instruction, and a wait that began before the signal still
lasts. Elsewhere `io_timeout` is the bound: where SIGINT has another handler, and where another library uses
the wakeup socket (trio, and event loops with signal handlers).
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final
from weakref import WeakMethod

from . import process

__all__ = ["EngineScope", "end_waits", "ends_on_interrupt", "in_engine_scope", "on_interrupt", "watch"]

_SETTLE_SECONDS: Final = 0.1
_STUCK_SECONDS: Final = 0.15
_REPEAT_SECONDS: Final = 0.05
_LIMIT_SECONDS: Final = 3.0
"""How long waits that begin after the signal are ended too: engines repeat a request that has failed."""

_JOIN_SECONDS: Final = 0.5
"""How long the exit of the process waits for the thread."""


class _Scope(threading.local):
    depth = 0


_scope: Final = _Scope()
_waits: dict[object, tuple[float, int, Callable[[], object]]] = {}
"""For each wait: when it began, in which thread, and the function that ends it."""

_methods: list[WeakMethod[Callable[[float], bool]]] = []
_lock = threading.Lock()
_sockets: tuple[socket.socket, socket.socket] | None = None
_thread: threading.Thread | None = None


class EngineScope:
    """A context manager: this thread makes the storage calls in its block for an engine.

    It has no state of its own, so that one object serves all threads.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        _scope.depth += 1

    def __exit__(self, *details: object) -> None:
        _scope.depth -= 1


def in_engine_scope() -> bool:
    """Whether this thread makes storage calls for an engine."""
    return _scope.depth > 0


@contextmanager
def ends_on_interrupt(end_wait: Callable[[], object]) -> Iterator[None]:
    """Call a function, which ends the wait in the block, on Ctrl-C."""
    token = object()
    _waits[token] = time.monotonic(), threading.get_ident(), end_wait
    try:
        yield
    finally:
        del _waits[token]


def end_waits(threads: Collection[int]) -> None:
    """End the waits of some threads, given by their identifiers, with KeyboardInterrupt."""
    for _, thread, end_wait in list(_waits.values()):
        if thread in threads:
            end_wait()


def on_interrupt(method: Callable[[float], bool]) -> None:
    """Register a bound method that ends waits of its own; it is referenced weakly.

    Parameters
    ----------
    method : callable
        Called with a time of `time.monotonic`: ends the waits that began before it, and returns whether there
        were any.
    """
    with _lock:
        _methods[:] = [other for other in _methods if other() is not None]
        _methods.append(WeakMethod(method))


def watch() -> None:
    """Watch for Ctrl-C from now on, if this is the main thread and the wakeup socket is free."""
    global _sockets, _thread
    if threading.current_thread() is not threading.main_thread() or "trio" in sys.modules:
        return
    if _sockets is None:
        receiver, sender = socket.socketpair()
        sender.setblocking(False)
        _sockets = receiver, sender
        _thread = threading.Thread(
            target=_read_signals, args=(receiver,), name="opendalfs-interrupts", daemon=True
        )
        _thread.start()
        process.at_exit(_stop)
    own = _sockets[1].fileno()
    other = signal.set_wakeup_fd(own, warn_on_full_buffer=False)
    if other not in (-1, own):
        signal.set_wakeup_fd(other)


def _read_signals(receiver: socket.socket) -> None:
    while signals := receiver.recv(4096):
        pressed = time.monotonic()
        if signal.SIGINT in signals and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            _interrupt(pressed)


def _stop() -> None:
    """Close the sockets at exit."""
    global _sockets
    found, _sockets = _sockets, None
    if found is None or _thread is None:
        return
    _free_wakeup(found[1])
    found[1].close()
    _thread.join(_JOIN_SECONDS)
    found[0].close()


def _free_wakeup(sender: socket.socket) -> None:
    """Unset the wakeup socket, unless it is another library's."""
    other = signal.set_wakeup_fd(-1)
    if other not in (-1, sender.fileno()):
        signal.set_wakeup_fd(other)


def _main_thread_position() -> object:
    """Return the instruction at which the main thread is; None when it runs no Python code.

    While the main thread is inside an engine, it stays at the instruction that called the engine. This looks
    at one frame of the main thread only, and only after a Ctrl-C. It stays because the alternatives are
    worse: a SIGINT handler of ours would hide Python's own from asyncio and from users, and
    `Py_AddPendingCall` shows the same only through ctypes.
    """
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return None if frame is None else (id(frame), frame.f_lasti)


def _interrupt(pressed: float) -> None:
    time.sleep(_SETTLE_SECONDS)
    position = _main_thread_position()
    time.sleep(_STUCK_SECONDS)
    before = pressed
    while (
        position is not None
        and _main_thread_position() == position
        and time.monotonic() < pressed + _LIMIT_SECONDS
    ):
        _print_errors_in_python()
        ended = [_end_waits_before(before), *(_call(method(), before) for method in list(_methods))]
        if before == pressed and not any(ended):
            return
        before = float("inf")
        time.sleep(_REPEAT_SECONDS)


def _print_errors_in_python() -> None:
    """Print uncaught errors from a function in Python, which runs the SIGINT handler before it begins.

    The main thread may leave the engine with an error while the signal is still pending. CPython 3.11 and
    3.12 would then interrupt their own printing, and show "lost sys.stderr" instead of the traceback.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_error


def _print_error(kind: type[BaseException], exc: BaseException, traceback: TracebackType | None) -> None:
    sys.__excepthook__(kind, exc, traceback)


def _end_waits_before(before: float) -> bool:
    """End the waits that began before a time; return whether there were any."""
    ends = [end_wait for began, _, end_wait in list(_waits.values()) if began < before]
    for end_wait in ends:
        end_wait()
    return bool(ends)


def _call(method: Callable[[float], bool] | None, before: float) -> bool:
    return method is not None and method(before)


def _reset() -> None:
    """Close the parent's sockets in a forked child: signals of this process are not for the parent."""
    global _sockets, _lock
    _lock = threading.Lock()
    _waits.clear()
    inherited, _sockets = _sockets, None
    if inherited is None:
        return
    with suppress(ValueError, OSError):
        _free_wakeup(inherited[1])
    for inherited_socket in inherited:
        inherited_socket.close()


process.after_fork(_reset)
