"""Ctrl-C while the main thread is inside an engine: what the engine's own threads wait for fails.

Python runs the handler of a signal in the main thread, and not before that thread returns to Python. DuckDB
and Polars return when their threads do, and those may wait for storage. So a thread of ours reads the socket
of `signal.set_wakeup_fd`, to which Python writes at once, and ends these waits.

It does so only while SIGINT has Python's own handler, and only when a quarter of a second later the main
thread is still in one place and a wait that began before the signal still lasts. `io_timeout` is the bound
where SIGINT has another handler, and where another library uses the wakeup socket: trio, and event loops with
handlers of signals.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final
from weakref import WeakMethod

__all__ = ["Engaged", "end", "ending", "engaged", "on_interrupt", "watch"]

_SETTLE_SECONDS: Final = 0.1
_STUCK_SECONDS: Final = 0.15
_AGAIN_SECONDS: Final = 0.05
_MOST_SECONDS: Final = 3.0
"""How long what begins after the signal is ended too: engines repeat a request that has failed."""

_LAST_SECONDS: Final = 0.5
"""How long the exit of the process waits for the thread."""


class _Scope(threading.local):
    depth = 0


_scope: Final = _Scope()
_waits: dict[object, tuple[float, int, Callable[[], object]]] = {}
"""For each wait when it began, in which thread, and what ends it."""

_others: list[WeakMethod[Callable[[float], bool]]] = []
_lock = threading.Lock()
_sockets: tuple[socket.socket, socket.socket] | None = None
_thread: threading.Thread | None = None


class Engaged:
    """A context manager: calls to storage in its block are made for an engine. Has no state of its own."""

    __slots__ = ()

    def __enter__(self) -> None:
        _scope.depth += 1

    def __exit__(self, *details: object) -> None:
        _scope.depth -= 1


def engaged() -> bool:
    """Whether this thread makes calls for an engine."""
    return _scope.depth > 0


@contextmanager
def ending(end_wait: Callable[[], object]) -> Iterator[None]:
    """Call a function, which ends the wait in the block, on Ctrl-C."""
    token = object()
    _waits[token] = time.monotonic(), threading.get_ident(), end_wait
    try:
        yield
    finally:
        del _waits[token]


def end(threads: Collection[int]) -> None:
    """End what some threads wait for, given by their identifiers, with KeyboardInterrupt."""
    for _, thread, end_wait in list(_waits.values()):
        if thread in threads:
            end_wait()


def on_interrupt(method: Callable[[float], bool]) -> None:
    """Register a bound method that ends waits of its own; it is held weakly.

    Parameters
    ----------
    method : callable
        Ends what began before a time of `time.monotonic`; returns whether there was any.
    """
    with _lock:
        _others[:] = [other for other in _others if other() is not None]
        _others.append(WeakMethod(method))


def watch() -> None:
    """Watch for Ctrl-C from now on, if this is the main thread and nobody else uses the wakeup socket."""
    global _sockets, _thread
    if threading.current_thread() is not threading.main_thread() or "trio" in sys.modules:
        return
    if _sockets is None:
        receiver, sender = socket.socketpair()
        sender.setblocking(False)
        _sockets = receiver, sender
        _thread = threading.Thread(target=_read, args=(receiver,), name="opendalfs-interrupts", daemon=True)
        _thread.start()
        atexit.register(_stop)
    own = _sockets[1].fileno()
    other = signal.set_wakeup_fd(own, warn_on_full_buffer=False)
    if other not in (-1, own):
        signal.set_wakeup_fd(other)


def _read(receiver: socket.socket) -> None:
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
    other = signal.set_wakeup_fd(-1)
    if other not in (-1, found[1].fileno()):
        signal.set_wakeup_fd(other)
    found[1].close()
    _thread.join(_LAST_SECONDS)
    found[0].close()


def _place() -> object:
    """Return where the main thread is; None when it runs no Python code."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return None if frame is None else (id(frame), frame.f_lasti)


def _interrupt(pressed: float) -> None:
    time.sleep(_SETTLE_SECONDS)
    place = _place()
    time.sleep(_STUCK_SECONDS)
    before = pressed
    while place is not None and _place() == place and time.monotonic() < pressed + _MOST_SECONDS:
        found = [_end(before), *(_call(other(), before) for other in list(_others))]
        if before == pressed and not any(found):
            return
        before = float("inf")
        time.sleep(_AGAIN_SECONDS)


def _end(before: float) -> bool:
    ends = [end_wait for began, _, end_wait in list(_waits.values()) if began < before]
    for end_wait in ends:
        end_wait()
    return bool(ends)


def _call(method: Callable[[float], bool] | None, before: float) -> bool:
    return method is not None and method(before)


def _after_fork() -> None:
    """Leave the parent's socket alone; signals of this process are none of the parent's."""
    global _sockets, _lock
    atexit.unregister(_stop)
    _lock = threading.Lock()
    _waits.clear()
    inherited, _sockets = _sockets, None
    if inherited is None:
        return
    with suppress(ValueError, OSError):
        other = signal.set_wakeup_fd(-1)
        if other not in (-1, inherited[1].fileno()):
            signal.set_wakeup_fd(other)
    for inherited_socket in inherited:
        inherited_socket.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
