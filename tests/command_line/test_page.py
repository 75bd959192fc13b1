"""The examples of docs/command_line.md run, and print what the page shows."""

from __future__ import annotations

import doctest
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.code_blocks import code_blocks

from .conftest import Run

# It needs a bucket of its own, and runs many commands.
pytestmark = pytest.mark.services

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"
BUCKET = "my-bucket"
ORDERS = b"o_orderkey,o_totalprice\n1,10\n2,20\n3,30\n4,4\n"


@pytest.fixture
def lake(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the files that the page names, and an environment that names server and keys."""
    s3_server.make_bucket(BUCKET)
    table = pa.table({"id": range(1000), "name": [f"name {i % 7}" for i in range(1000)]})
    fs = opendalfs.filesystem("s3", **s3_server.options)
    fs.pipe_file(f"{BUCKET}/lake/orders.csv", ORDERS)
    for name in ("a", "b"):
        with fs.open(f"{BUCKET}/lake/2026/{name}.parquet", "wb") as file:
            pq.write_table(table, file)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_REGION", s3_server.region)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    s3_server.remove_prefix("", bucket=BUCKET)
    s3_server.client.delete_bucket(Bucket=BUCKET)


def examples() -> list[tuple[str, str]]:
    """Return each command of the page with its output."""
    found = []
    for block in code_blocks(PAGE, "console"):
        for example in ("\n" + block).split("\n$ ")[1:]:
            command, _, output = example.partition("\n")
            found.append((command, output))
    return found


def run_process(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that starts a process, whose output click's runner does not catch."""
    command = [sys.executable, "-m", "opendalfs", *arguments]
    command = [sys.executable if part == "python" else part for part in command]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    done.output = done.stdout  # type: ignore[attr-defined]
    return done


def test_every_example_prints_what_the_page_shows(run: Run, lake: Path) -> None:
    checker = doctest.OutputChecker()
    assert len(examples()) >= 8
    for command, output in examples():
        program, *arguments = shlex.split(command)
        assert program == "opendalfs"
        result = run(*arguments) if "python" not in arguments else run_process(arguments)
        printed = result.output if result.output.endswith("\n") else f"{result.output}\n"
        expected = output if output.endswith("\n") or not output else f"{output}\n"
        assert checker.check_output(expected or "\n", printed, doctest.ELLIPSIS), (command, printed)


def test_the_page_shows_every_command(run: Run) -> None:
    from opendalfs_cli.program import program

    text = PAGE.read_text()
    for name in program.commands:
        assert f"opendalfs {name} " in text, name
