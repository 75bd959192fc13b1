"""One gateway a process: environment, exits, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from opendalfs_gateway.server import Gateway, gateway

# Its life


def test_one_gateway_a_process() -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len({id(g) for g in threads.map(lambda _: gateway(), range(32))}) == 1


SCRIPT = """
import os, sys
import polars as pl
import opendalfs_polars as op
op.write_csv(pl.DataFrame({"a": [1, 2]}), "opendal+memory://x/a.csv")
assert op.read_csv("opendal+memory://x/a.csv")["a"].sum() == 3
print("fine")
"""


def run(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("given", [{}, {"no_proxy": "example.org"}, {"NO_PROXY": "*"}])
def test_a_proxy_in_the_environment_is_no_hindrance(given: dict[str, str]) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    script = f"{SCRIPT}\nprint([n for n in os.environ if n.lower() == 'no_proxy'])"
    assert run(script, **proxies, **given) == f"fine\n{list(given)}\n"


@pytest.mark.parametrize(
    "variables",
    [
        {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
            "AWS_S3_EXPRESS": "true",
            "AWS_SESSION_TOKEN": "x",
            "AWS_REQUEST_PAYER": "true",
            "AWS_CHECKSUM_ALGORITHM": "sha256",
            "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
        },
        {"AWS_SKIP_SIGNATURE": "true"},  # alone: without a signature the others might have no effect
    ],
)
def test_aws_environment_variables_do_not_affect_the_gateway(variables: dict[str, str]) -> None:
    assert run(SCRIPT, **variables) == "fine\n"


def test_processes_exit_cleanly_during_a_query() -> None:
    script = (
        SCRIPT
        + """
import threading
def forever():
    while True:
        try:
            op.read_csv("opendal+memory://x/a.csv")
        except BaseException:
            return
threading.Thread(target=forever, daemon=True).start()
"""
    )
    assert run(script) == "fine\n"


FORK = """
import os
import opendalfs
from opendalfs_gateway.server import gateway
parent = gateway()
if {used}:
    opendalfs.filesystem("memory").pipe_file("x/a", b"1")
pid = os.fork()
if pid == 0:
    code = 1
    try:
        child = gateway()
        code = 0 if child.endpoint != parent_endpoint else 2
        child.stop()
    except opendalfs.ForkError:
        code = 3
    finally:
        os._exit(code)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""".replace("pid = os.fork()", "parent_endpoint = parent.endpoint\npid = os.fork()")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("used", "code"), [(False, "0"), (True, "3")])
def test_a_forked_child_starts_its_own_gateway_or_raises(used: bool, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK.format(used=used)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == code


def test_stopping_twice_is_no_error() -> None:
    found = Gateway()
    found.stop()
    found.stop()
    assert not any(t is found._thread for t in threading.enumerate())
