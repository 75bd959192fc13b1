"""Run one command for as long as the process that started us lives.

A server of a test run must not outlive the run, however it ends. ``PR_SET_PDEATHSIG`` alone is no
answer: it exists on Linux only, and fires when the *thread* that forked the server ends. So the
server's parent is this small script, and what ties it to the test run is its standard input: a
byte or its end, which the kernel sends even for a killed process, means "stop and clean up".

It is run as a plain script, with the standard library alone, so that it starts in 20 ms::

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
    """Ask Linux to end the server with this script, should somebody kill the script itself."""
    # This process has one thread, so "the thread that forked" is the process.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _told_to_stop() -> bool:
    """Wait a moment for a byte or the end of standard input."""
    ready, _, _ = select.select([0], [], [], POLL_SECONDS)
    return bool(ready)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the server: politely first, then for certain."""
    child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _remove(paths: list[str]) -> None:
    """Remove what the server leaves behind."""
    for path in paths:
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                os.remove(path)


def main(arguments: str) -> int:
    """Run ``argv`` until told to stop, then remove ``remove``; see the module's text."""
    order = json.loads(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    child = subprocess.Popen(
        order["argv"],
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    try:
        while child.poll() is None:
            if _told_to_stop():
                break
        else:
            # It ended by itself. Its log must stay for the one who asks why.
            return child.returncode or 1
    finally:
        if child.poll() is None:
            _stop(child)
    _remove(order["remove"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
