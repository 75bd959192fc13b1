"""A process that begins an operation, and ends in the middle of it: `python -m tests.crashes.child ORDER`.

It prints a line for each step: ``reached`` where a stop of its own holds the operation, ``forked`` with what
the forked processes said, ``done`` with the result of an operation that has completed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from opendalfs import ForkError
from opendalfs.runtime import process
from opendalfs.storage.connection import Connection
from opendalfs.storage.upload import AsyncUpload, Upload
from tests.crashes.operations import OPERATIONS, Files

HANGS_AFTER = 30.0


def say(*words: object) -> None:
    # In one piece, as several threads print.
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


class Stop:
    """Holds the operation at one call: the storage of local disks has no server that could.

    At exit the call goes on, as one of a disk does.

    Parameters
    ----------
    moment : str
        ``"part"``: before the second part is written, or before the first if there is only one.
        ``"publish"``: before the rename that publishes. ``"published"``: after it.
        ``"first"``, ``"second"``: before that read.
    """

    def __init__(self, moment: str, operation: str) -> None:
        self.released = threading.Event()
        self._count = 0
        self._lock = threading.Lock()
        if moment == "part":
            self._number = 1 if operation == "pipe" else 2
            self._patch(Upload, "write")
            self._patch_async(AsyncUpload, "write")
            self._patch(Connection, "write_blocking")
            self._patch_async(Connection, "write")
        elif moment in ("first", "second"):
            self._number = 1 if moment == "first" else 2
            self._patch(Connection, "read_blocking")
            self._patch_async(Connection, "read")
        else:
            self._number = 1
            after = moment == "published"
            self._patch(Connection, "publish_blocking", after)
            self._patch_async(Connection, "publish", after)
            self._patch(os, "replace", after)

    def _is_it(self) -> bool:
        with self._lock:
            self._count += 1
            return self._count == self._number

    def _hold(self) -> None:
        if self._is_it():
            say("reached")
            while not (self.released.is_set() or process.exiting()):
                time.sleep(0.01)

    async def _hold_async(self) -> None:
        if self._is_it():
            say("reached")
            while not (self.released.is_set() or process.exiting()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def _patch(self, owner: Any, name: str, after: bool = False) -> None:
        function = getattr(owner, name)

        def held(*args: Any, **options: Any) -> Any:
            if not after:
                self._hold()
            result = function(*args, **options)
            if after:
                self._hold()
            return result

        setattr(owner, name, held)

    def _patch_async(self, owner: Any, name: str, after: bool = False) -> None:
        function = getattr(owner, name)

        async def held(*args: Any, **options: Any) -> Any:
            if not after:
                await self._hold_async()
            result = await function(*args, **options)
            if after:
                await self._hold_async()
            return result

        setattr(owner, name, held)


def run(operation: Callable[[Files], Any], files: Files) -> None:
    try:
        say("done", operation(files))
    except Exception as exc:
        say("failed", repr(exc))
        raise


def in_thread(operation: Callable[[Files], Any], files: Files) -> threading.Thread:
    threading.excepthook = lambda _: None
    thread = threading.Thread(target=run, args=(operation, files), daemon=True)
    thread.start()
    # The test writes a line once the operation is in the middle.
    sys.stdin.readline()
    return thread


def fork(files: Files) -> str:
    """Fork a process that uses storage, and one that exits as usual; return how they ended."""
    ends = []
    for exits in (False, True):
        pid = os.fork()
        if not pid:
            if exits:
                sys.exit(0)
            try:
                files.fs.cat_file(files.source)
            except ForkError:
                os._exit(7)
            os._exit(8)
        deadline = time.monotonic() + HANGS_AFTER
        while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        if ended == (0, 0):
            os.kill(pid, 9)
            ends.append("hangs")
        else:
            ends.append(str(os.waitstatus_to_exitcode(ended[1])))
    return ",".join(ends)


def main(order: dict[str, Any]) -> None:
    files = Files(**order["files"])
    operation = OPERATIONS[order["operation"]]
    stop = Stop(order["stop"], order["operation"]) if order["stop"] else None
    match order["end"]:
        case "kill" | "interrupt":
            if stop is not None:
                threading.Thread(
                    target=lambda: sys.stdin.readline() and stop.released.set(), daemon=True
                ).start()
            run(operation, files)
        case "end":
            in_thread(operation, files)
        case "exit":
            in_thread(operation, files)
            sys.exit(3)
        case "os_exit":
            in_thread(operation, files)
            os._exit(4)
        case "fork":
            thread = in_thread(operation, files)
            say("forked", fork(files))
            if stop is not None:
                stop.released.set()
            thread.join(60)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
