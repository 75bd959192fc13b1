"""Run one command until the process that started this script ends.

A server must not outlive the process that started it, even when that process is killed.
``PR_SET_PDEATHSIG`` is not enough: it exists on Linux only, and fires when the *thread* that forked the
server ends. So this script is the parent of the server, and reads its standard input: a byte, or the end
that follows when the other process ends, means "stop and clean up".

It runs as a script with the standard library alone, so that it starts in 20 ms::

    python -I -S supervisor.py '{"argv": [...], "remove": [...]}'
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

POLL_SECONDS = 0.25
GRACE_SECONDS = 10.0
PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Make Linux kill the server when this script is killed."""
    # This process has one thread, so the thread that forked ends with the process.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _is_stop_requested() -> bool:
    """Whether a byte or the end of standard input arrives within a moment."""
    ready, _, _ = select.select([0], [], [], POLL_SECONDS)
    return bool(ready)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Terminate the server; kill it if it does not end in time."""
    child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _remove(paths: list[str]) -> None:
    """Remove the files of the server."""
    for path in paths:
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                os.remove(path)


def main(arguments: str) -> int:
    """Run ``argv`` until a stop is requested, then remove the files in ``remove``."""
    order = json.loads(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    child = subprocess.Popen(
        order["argv"],
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    try:
        while child.poll() is None:
            if _is_stop_requested():
                break
        else:
            # The server ended by itself: keep its log for the error message.
            return child.returncode or 1
    finally:
        if child.poll() is None:
            _stop(child)
    _remove(order["remove"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
