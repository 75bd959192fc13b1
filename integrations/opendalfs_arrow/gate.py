"""Lets the interpreter exit only when no thread of Arrow's is within Python code of ours.

Arrow's threads go on after the last line of a program, as when a scan was given up half way. One that
wants the interpreter while it is being taken down is ended on the spot, with Arrow's locks in its hands, and
the process hangs or aborts.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opendalfs.runtime import interrupts

__all__ = ["called"]

_QUIET_SECONDS: Final = 0.1
_MOST_SECONDS: Final = 5.0
_MOST_BUSY_SECONDS: Final = 1.0
"""How long threads that are no calls are waited for: they may be the user's, and never rest."""

# Reentrant: a file that is collected while this thread is in here may call.
_lock = threading.RLock()
_active = 0
_last = float("-inf")
_closing = False


@contextmanager
def called() -> Iterator[None]:
    """Note a call from Arrow while the block runs; refuse it once the interpreter exits."""
    global _active, _last
    if _closing:
        _last = time.monotonic()
        raise RuntimeError("files cannot be read while the interpreter exits")
    with _lock:
        _active += 1
    try:
        with interrupts.Engaged():
            yield
    finally:
        with _lock:
            _active -= 1
            _last = time.monotonic()


def _wait() -> None:
    """Refuse calls, which makes Arrow give up what it does, and wait until it has."""
    global _closing, _last
    _closing = True
    begun = time.monotonic()
    lately = begun - _last < _MOST_BUSY_SECONDS
    while (now := time.monotonic()) < begun + _MOST_SECONDS:
        if lately and now < begun + _MOST_BUSY_SECONDS and _others_run():
            # One of Arrow's may be on its way here, which takes its time on a busy machine.
            _last = now
        elif not _active and now - _last >= _QUIET_SECONDS:
            break
        time.sleep(0.005)


def _others_run() -> bool:
    """Tell whether another thread of this process has a processor or waits for one, where Linux tells."""
    own = str(threading.get_native_id())
    try:
        for thread in os.listdir("/proc/self/task"):
            if thread != own:
                with open(f"/proc/self/task/{thread}/stat", "rb") as file:
                    if file.read().rpartition(b") ")[2].startswith(b"R"):
                        return True
    except OSError:
        # No such place, or a thread that has just ended.
        pass
    return False


def _reopen() -> None:
    """Start anew in a forked child, where none of Arrow's threads runs."""
    global _active, _lock
    _active, _lock = 0, threading.RLock()


atexit.register(_wait)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reopen)
