"""Cost: the time that the library itself takes, without a network."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import opendalfs
from benchmarks.cases.model import OURS, S3FS, Case, Peer, Work
from benchmarks.context import Context

CALLS = 20_000
_CONTENT = bytes(1024)


def _memory() -> tuple[Any, str]:
    fs = opendalfs.filesystem("memory")
    fs.pipe_file("cost/a", _CONTENT)
    connection, key = fs.locate("cost/a")
    return connection, key


@contextmanager
def _logged() -> Iterator[None]:
    """Turn the log on, with a handler that writes nothing."""
    log = logging.getLogger("opendalfs")
    handler, level, up = logging.NullHandler(), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = up


def _seam() -> dict[str, Peer]:
    """Return the peers that read one object in memory many times, through our connection and without it."""

    def bare(context: Context) -> Work:
        connection, key = _memory()
        read, calls = connection.operator.read, context.count(CALLS)
        return lambda: sum(len(read(key, offset=0, size=1024)) for _ in range(calls))

    def seam(watch: Callable[[], Any] | None) -> Peer:
        def peer(context: Context) -> Work:
            connection, key = _memory()
            read, calls = connection.read_blocking, context.count(CALLS)

            def work() -> int:
                return sum(len(read(key, 0, 1024)) for _ in range(calls))

            def watched() -> int:
                assert watch is not None
                with watch():
                    return work()

            return work if watch is None else watched

        return peer

    return {
        OURS: seam(None),
        "OpenDAL alone": bare,
        "while a trace is open": seam(opendalfs.trace),
        "while the log is on": seam(_logged),
    }


def _imports() -> dict[str, Peer]:
    def of(statement: str) -> Peer:
        def peer(_: Context) -> Work:
            return lambda: subprocess.run([sys.executable, "-c", statement], check=True).returncode

        return peer

    return {
        OURS: of("import opendalfs"),
        S3FS: of("import s3fs"),
        "obstore": of("import obstore"),
        "Python itself": of("pass"),
    }


CASES = [
    Case("cost", "20,000 reads of 1 KiB in memory: the seam", _seam(), repr, near=True),
    Case("cost", "import", _imports(), repr, near=True),
]
