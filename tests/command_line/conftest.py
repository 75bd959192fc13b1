"""Runs commands in this process, and on a terminal of their own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result

from opendalfs.testing import S3Server
from opendalfs_cli.program import program

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Return a function that runs a command as click's runner does, without a terminal."""

    def call(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(program, list(arguments), input=stdin, prog_name="opendalfs")

    return call


@pytest.fixture
def s3_options(s3_server: S3Server) -> list[str]:
    """Return the arguments that name the server and its keys."""
    options = {
        "endpoint": s3_server.endpoint,
        "key": s3_server.access_key,
        "secret": s3_server.secret_key,
        "region": s3_server.region,
    }
    return [argument for name, value in options.items() for argument in ("-o", f"{name}={value}")]


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.output = ""
        self._descriptor = descriptor

    def type(self, text: str) -> None:
        """Type a text; ``\\x03`` is Ctrl-C, ``\\x04`` the end of the input."""
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until the output contains a text."""
        assert self._read_until(lambda: text in self.output), self.output

    def wait(self) -> int:
        """Read to the end, and return the exit code."""
        self._read_until(lambda: False)
        return self.process.wait(60)

    def _read_until(self, done: Callable[[], bool]) -> bool:
        end = time.monotonic() + 90
        while not done():
            ready, _, _ = select.select([self._descriptor], [], [], max(end - time.monotonic(), 0))
            assert ready, f"no more output:\n{self.output}"
            try:
                data = os.read(self._descriptor, 65_536)
            except OSError:
                # Linux reports so that the other side is closed.
                return False
            if not data:
                return False
            self.output += data.decode()
        return True


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """Start a command on a terminal of its own, which is its controlling terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "opendalfs", *arguments]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(command, preexec_fn=lambda: os.login_tty(theirs), env=env)
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
