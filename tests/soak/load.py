"""Threads and tasks that read, write and delete, and compare every byte: `python -m tests.soak.load ORDER`.

Each worker has a folder of its own, whose content it knows. It prints the usage of the process, as JSON, at
even intervals.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import opendalfs
from tests.soak.usage import Usage

SIZES = (0, 1, 1_000, 40_000, 300_000)
NAMES = [f"file-{i}" for i in range(6)]
BASE = random.Random(0).randbytes(400_000)
VIEW = memoryview(BASE)
SAMPLES = 40
DEADLINE = 900.0

Step = tuple[str, tuple[Any, ...], Any]
"""A method, its arguments, and the result that is right; an exception class if it is to raise."""


class Worker:
    """The steps of one worker: it chooses the next call from the content that its folder should have."""

    def __init__(self, folder: str, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        # A view of `BASE` each, so that the worker's own memory does not grow.
        self._content: dict[str, memoryview] = {}

    def path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def steps(self) -> Iterator[Step]:
        """Yield steps without an end; the content is updated when the next one is asked for."""
        while True:
            name = self._random.choice(NAMES)
            path = self.path(name)
            data = self._content.get(name)
            kind = self._random.choices(("write", "read", "ranges", "list", "delete"), (25, 35, 25, 8, 7))[0]
            if kind == "write" or not self._content:
                size = self._random.choice(SIZES)
                start = self._random.randrange(len(BASE) - size)
                data = VIEW[start : start + size]
                yield "pipe_file", (path, bytes(data)), None
                self._content[name] = data
            elif kind == "list":
                yield "ls", (self._folder, False), sorted(map(self.path, self._content))
            elif data is None:
                yield "cat_file", (path,), FileNotFoundError
            elif kind == "read":
                yield "cat_file", (path,), data
            elif kind == "ranges":
                ends = sorted(self._random.randrange(len(data) + 1) for _ in range(4))
                paths = [path, path]
                right = [data[ends[0] : ends[1]], data[ends[2] : ends[3]]]
                yield "cat_ranges", (paths, ends[0::2], ends[1::2]), right
            else:
                yield "rm_file", (path,), None
                del self._content[name]


def check(step: Step, result: Any) -> None:
    method, arguments, right = step
    if method == "ls":
        result = sorted(result)
    wrong = (
        not isinstance(result, right) if isinstance(right, type) else right is not None and result != right
    )
    if wrong:
        shown = repr(result)[:200] if isinstance(result, Exception) else type(result).__name__
        raise AssertionError(f"{method}{arguments[:1]}: {shown} is wrong")


class Count:
    """Counts operations, samples the usage, and ends the load."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.done = 0
        self.failed: list[str] = []
        self.samples: list[Usage] = []
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def another(self) -> bool:
        """Count one operation; return whether to go on."""
        with self._lock:
            self.done += 1
            if self.done % max(self.most // SAMPLES, 1) == 0:
                gc.collect()
                self.samples.append(Usage.now(self.done))
        late = time.monotonic() > self._began + DEADLINE
        return self.done < self.most and not self.failed and not late


def in_thread(fs: Any, worker: Worker, count: Count) -> None:
    for step in worker.steps():
        method, arguments, _ = step
        try:
            result = getattr(fs, method)(*arguments)
        except Exception as exc:
            result = exc
        try:
            check(step, result)
        except AssertionError as exc:
            count.failed.append(str(exc))
        if not count.another():
            return


async def in_task(fs: Any, worker: Worker, count: Count) -> None:
    for step in worker.steps():
        method, arguments, _ = step
        call: Callable[..., Awaitable[Any]] = getattr(fs, f"_{method}")
        try:
            result = await call(*arguments)
        except Exception as exc:
            result = exc
        try:
            check(step, result)
        except AssertionError as exc:
            count.failed.append(str(exc))
        if not count.another():
            return
        # Local services answer without a pause in which other tasks could run.
        await asyncio.sleep(0)


def run(service: str, options: dict[str, Any], root: str, operations: int, threads: int, tasks: int) -> Count:
    """Put a filesystem under load; return the count."""
    count = Count(operations)
    fs = opendalfs.filesystem(service, **options)
    workers = [
        Worker(f"{root}/{kind}-{i}", i) for kind, n in (("t", threads), ("a", tasks)) for i in range(n)
    ]
    started = [threading.Thread(target=in_thread, args=(fs, worker, count)) for worker in workers[:threads]]

    async def run_tasks() -> None:
        own = type(fs)(**options, asynchronous=True, skip_instance_cache=True)
        await asyncio.gather(*(in_task(own, worker, count) for worker in workers[threads:]))

    for thread in started:
        thread.start()
    asyncio.run(run_tasks())
    for thread in started:
        thread.join()
    with contextlib.suppress(FileNotFoundError):
        fs.rm(root, recursive=True)
    return count


if __name__ == "__main__":
    began = time.monotonic()
    finished = run(**json.loads(sys.argv[1]))
    seconds = time.monotonic() - began
    print(json.dumps({"failed": finished.failed[:5], "samples": finished.samples, "seconds": seconds}))
