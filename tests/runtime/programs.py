"""Programs that use storage in an interpreter of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

SETUP = """
import asyncio, os, sys, threading, time, opendalfs
fs = opendalfs.S3FileSystem(**{options!r})
path = {path!r}
"""


class Runner:
    """Runs a program in a Python of its own, with ``fs`` and ``path`` at hand."""

    def __init__(self, options: dict[str, Any], path: str) -> None:
        self.setup = SETUP.format(options=options, path=path)

    def start(self, code: str) -> subprocess.Popen[str]:
        program = self.setup + textwrap.dedent(code)
        pipe = subprocess.PIPE
        # From 3.12 on Python warns of each fork of a process with threads, which is what is tested here.
        quiet = ["-W", "ignore:This process:DeprecationWarning"]
        return subprocess.Popen([sys.executable, *quiet, "-c", program], stdout=pipe, stderr=pipe, text=True)

    def run(self, code: str) -> str:
        return finish(self.start(code))


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    return out.strip()


def silent(url: str) -> dict[str, Any]:
    return {"key": "k", "secret": "s", "endpoint_url": url, "timeout": 60, "io_timeout": 60}


async def one() -> int:
    return 1
