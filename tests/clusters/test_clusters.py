"""The examples of clusters, and a server that forks, with the real packages: ``make tools`` installs them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import opendalfs
from opendalfs.testing import S3Server

# The start of a cluster takes up to a minute on a busy machine.
pytestmark = [pytest.mark.tools, pytest.mark.timeout(400)]

ROOT = Path(__file__).parent.parent.parent

RAY_IS_LATE = "The current node timed out during startup"
"""On a busy machine Ray's node may need more than 30 s, which no setting changes."""


@pytest.mark.parametrize(
    ("example", "package"), [("dask_scan", "distributed"), ("ray_scan", "ray"), ("spark_scan", "pyspark")]
)
def test_a_cluster_finds_what_duckdb_finds_and_counts_requests(
    example: str, package: str, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    if package == "pyspark" and not shutil.which("java"):
        pytest.skip("Spark needs Java: apt-get install default-jre-headless")
    shutil.copy(ROOT / "examples" / "tpch.py", tmp_path)
    script = shutil.copy(ROOT / "examples" / f"{example}.py", tmp_path)
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=380, check=False
        )
        if RAY_IS_LATE not in done.stderr:
            break
    else:
        pytest.skip("Ray's node did not start within the 30 s that Ray gives it")
    assert done.returncode == 0, done.stderr
    assert "Both are equal to DuckDB's." in done.stdout
    counts = re.findall(r"^worker .*: (\d+) requests, ([\d,]+) bytes$", done.stdout, re.MULTILINE)
    assert 1 <= len(counts) <= 2
    # Of each of 8 files: a stat, its end, and two runs of columns.
    assert sum(int(requests) for requests, _ in counts) == 8 * 4
    assert 6_000_000 < sum(int(size.replace(",", "")) for _, size in counts) < 9_000_000


APPLICATION = """
import os
import opendalfs

fs = opendalfs.filesystem("s3", **{options!r})
{before}


def application(environ, start_response):
    try:
        body = b"%d %d" % (os.getpid(), len(fs.cat_file({path!r})))
    except opendalfs.ForkError:
        body = b"ForkError"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


READ_BY_ANOTHER_PROCESS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
    assert len(process.submit(fs.cat_file, {path!r}).result()) == 1000
"""


@contextmanager
def gunicorn(folder: Path, application: str) -> Iterator[str]:
    """Run gunicorn with two workers, which it forks once it has loaded the application; yield its URL."""
    (folder / "application.py").write_text(application)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", address]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "integrations")])}
    server = subprocess.Popen(
        [*command, "--no-control-socket", "application"],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://{address}/"
    finally:
        server.terminate()
        print(server.communicate(timeout=60)[1])


def get(url: str) -> str:
    deadline = time.monotonic() + 100
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                return str(response.read().decode())
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("before", "found"),
    [
        ("", "1000"),
        (READ_BY_ANOTHER_PROCESS, "1000"),
        ("fs.cat_file({path!r})", "ForkError"),
    ],
    ids=["constructed", "another process read", "used"],
)
def test_workers_of_gunicorn_with_a_preloaded_application(
    s3_server: S3Server, prefix: str, tmp_path: Path, before: str, found: str
) -> None:
    pytest.importorskip("gunicorn")
    path = f"{prefix}/object"
    opendalfs.filesystem("s3", **s3_server.options).pipe_file(path, b"x" * 1000)
    application = APPLICATION.format(options=s3_server.options, path=path, before=before.format(path=path))
    with gunicorn(tmp_path, application) as url:
        answers = {get(url) for _ in range(10)}
    assert {answer.split()[-1] for answer in answers} == {found}
