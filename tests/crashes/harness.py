"""Holds the operation of a child process at a known request, and ends the process there."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from opendalfs.testing import Request, Response, ScriptedServer
from tests.crashes.operations import Files

ROOT = Path(__file__).resolve().parents[2]

CHILD = ("-m", "tests.crashes.child")

PATIENCE = 60.0
"""Seconds after which a process is taken to hang; each step takes about a second."""


class Child:
    """The process of `tests.crashes.child`, and the lines that it prints."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self.said: list[str] = []
        pipe = subprocess.PIPE
        path = os.pathsep.join([str(ROOT), str(ROOT / "integrations")])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore:This process:DeprecationWarning", *CHILD, json.dumps(order)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        self._errors: list[str] = []
        self._readers = [threading.Thread(target=read) for read in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put("EOF")

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.append(self.process.stderr.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        while not self.lines.empty():
            self.said.append(self.lines.get())
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def wait_for(self, word: str) -> str:
        """Return the rest of the line that starts with a word."""
        while True:
            line = self.lines.get(timeout=PATIENCE)
            self.said.append(line)
            first, _, rest = line.partition(" ")
            if first == word:
                return rest
            assert line != "EOF", f"ended without {word!r}: {self.said} {self.errors}"

    def command(self) -> None:
        """Send the line with which the main thread of the process goes on, to its end."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self, how: str) -> int:
        """End the process, wait for it, and return its status."""
        if how == "kill":
            self.process.kill()
        elif how == "interrupt":
            return self._interrupt()
        else:
            self.command()
        return self.process.wait(PATIENCE)

    def _interrupt(self) -> int:
        """Press Ctrl-C, and let the call to the disk go on; repeat it, as DuckDB loses some interrupts."""
        for _ in range(3):
            self.process.send_signal(signal.SIGINT)
            for command in (self.command, lambda: None):
                try:
                    return self.process.wait(2 if command == self.command else PATIENCE / 4)
                except subprocess.TimeoutExpired:
                    with suppress(OSError):
                        command()
        raise AssertionError(f"hangs after three interrupts: {self.said}")

    @property
    def errors(self) -> str:
        """What the process has written to stderr, once it has ended."""
        self._readers[1].join(PATIENCE)
        return "".join(self._errors)


def is_part(request: Request) -> bool:
    return request.method == "PUT" and "partNumber=" in request.target


def is_completion(request: Request) -> bool:
    return request.method == "POST" and "uploadId=" in request.target


def is_put(request: Request) -> bool:
    return request.method == "PUT" and "partNumber=" not in request.target


def is_read(request: Request) -> bool:
    return request.method == "GET"


def is_any(request: Request) -> bool:
    return True


MOMENTS = {
    "first": (is_any, 1, False),
    "put": (is_put, 1, False),
    "put answered": (is_put, 1, True),
    "part": (is_part, 2, False),
    "complete": (is_completion, 1, False),
    "completed": (is_completion, 1, True),
    "second read": (is_read, 2, False),
    "body": (is_read, 1, True),
}
"""Which request is held, the how manieth of its kind, and whether the server has got it."""


class Hold:
    """A server before the real one that holds one request below a folder.

    Parameters
    ----------
    endpoint : str
        The real server.
    moment : str
        One of `MOMENTS`.
    folder : str
        Path of the folder, with the bucket.
    """

    def __init__(self, endpoint: str, moment: str, folder: str) -> None:
        self._endpoint = endpoint
        self._is_it, self._number, self._after = MOMENTS[moment]
        self._body = moment == "body"
        self._folder = f"/{folder}/"
        self._count = 0
        self._lock = threading.Lock()
        self.reached: queue.Queue[str] = queue.Queue()
        self.released = threading.Event()
        self.server = ScriptedServer(self._respond)

    def _is_held(self, request: Request) -> bool:
        if not request.target.startswith(self._folder) or not self._is_it(request):
            return False
        with self._lock:
            self._count += 1
            return self._count == self._number

    def _respond(self, request: Request) -> Response | None:
        if not self._is_held(request):
            return request.forward(self._endpoint)
        if self._body:
            response = request.forward(self._endpoint)
            return response._replace(body=self._in_halves(b"".join(response.pieces())))
        response = request.forward(self._endpoint) if self._after else None
        self.reached.put("reached")
        self.released.wait()
        if self.server.stopped.is_set():
            return None
        return response or request.forward(self._endpoint)

    def _in_halves(self, body: bytes) -> Iterator[bytes]:
        yield body[: len(body) // 2]
        self.reached.put("reached")
        self.released.wait()
        yield body[len(body) // 2 :]

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        # Not before the server has stopped: it would forward what a process asked that is no more.
        self.server.stopped.set()
        self.released.set()
        self.server.__exit__(*details)


def order_for(files: Files, operation: str, end: str, stop: str, endpoint: str = "") -> dict[str, Any]:
    """Return what the child process is to do."""
    options = {**files.options, "endpoint_url": endpoint} if endpoint else files.options
    told = {"service": files.service, "options": options, "root": files.root, "local": str(files.local)}
    return {"files": told, "operation": operation, "end": end, "stop": stop}
