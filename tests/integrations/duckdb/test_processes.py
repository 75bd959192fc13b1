"""DuckDB in processes that exit, fork, run event loops or are interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest

import opendalfs
import opendalfs_duckdb
from opendalfs.testing import S3Server

ROOT = Path(__file__).resolve().parents[3]

START = """
import json, os, sys
import duckdb, opendalfs, opendalfs_duckdb
order = json.loads(sys.argv[1])
url, options = order["url"], order["options"]

def connect():
    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", cache=False, **options)
    return con
"""


@pytest.fixture(scope="module")
def big(s3_server: S3Server) -> Iterator[dict[str, Any]]:
    """Return a file that DuckDB reads in many pieces."""
    name = f"duckdb-life-{uuid4().hex[:12]}"
    options = s3_server.options
    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", **options)
    url = f"opendal+s3://{s3_server.bucket}/{name}/big.parquet"
    con.execute(
        "COPY (SELECT range AS i, range % 5 AS j, md5(range::VARCHAR) AS s FROM range(600000)) "
        f"TO '{url}' (ROW_GROUP_SIZE 10000)"
    )
    con.close()
    yield {"url": url, "options": options}
    s3_server.remove_prefix(f"{name}/")


def run(script: str, order: dict[str, Any], timeout: float = 60) -> str:
    """Run a script in a process of its own; it must end by itself, and well."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "integrations")])
    done = subprocess.run(
        [sys.executable, "-c", START + script, json.dumps(order)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"status {done.returncode}: {done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    return done.stdout


UNFINISHED = {
    "register": "con = connect()",
    "register_filesystem": """
con = duckdb.connect()
con.register_filesystem(opendalfs.duckdb("s3", **options))
""",
    "cursor": "first = connect(); con = first.cursor()",
}


@pytest.mark.services
@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", UNFINISHED)
def test_exit_with_an_unfinished_result(big: dict[str, Any], way: str) -> None:
    fetch = """
reader = con.execute(f"FROM '{url}'")
print(reader.fetchone()[0])
"""
    for _ in range(6 if way == "register" else 3):
        assert run(UNFINISHED[way] + fetch, big).split()


def test_exit_while_another_thread_queries(big: dict[str, Any]) -> None:
    run(
        """
import threading, time
con = connect()
def work():
    while True:
        con.execute(f"SELECT sum(i), max(s) FROM '{url}'").fetchall()
threading.Thread(target=work, daemon=True).start()
time.sleep(0.5)
""",
        big,
    )


def test_a_forked_child_gets_a_clear_error(big: dict[str, Any]) -> None:
    out = run(
        """
import warnings
warnings.simplefilter("ignore")
con = connect()
con.execute(f"SELECT count(*) FROM '{url}'").fetchall()
sys.stdout.flush()
child = os.fork()
if not child:
    try:
        connect().execute(f"SELECT count(*) FROM '{url}'").fetchall()
    except Exception as exc:
        print(exc, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
""",
        big,
    )
    assert "spawn" in out


def test_asyncio_programs(big: dict[str, Any]) -> None:
    out = run(
        """
import asyncio
async def main():
    con = connect()
    query = f"SELECT count(*) FROM '{url}'"
    here = con.execute(query).fetchone()
    def count():
        return con.cursor().execute(query).fetchone()
    there = await asyncio.gather(*(asyncio.to_thread(count) for _ in range(4)))
    print(here[0], {x[0] for x in there})
asyncio.run(main())
asyncio.run(main())
""",
        big,
    )
    assert out == "600000 {600000}\n" * 2


def test_in_fsspecs_own_loop_thread(big: dict[str, Any]) -> None:
    out = run(
        """
import asyncio
from fsspec.asyn import get_loop
core = opendalfs.filesystem("s3", **options)
con = duckdb.connect()
opendalfs_duckdb.register(con, core)
folder = url.rpartition("/")[0]
async def main():
    for _ in range(2):
        con.execute(f"COPY (SELECT 1 AS x) TO '{folder}/loop/a.parquet'")
    con.execute(f"COPY (SELECT 1 AS x, 2 AS p) TO '{folder}/loop/h' (FORMAT csv, PARTITION_BY p, OVERWRITE)")
    print(con.execute(f"SELECT count(*) FROM '{folder}/*.parquet'").fetchone()[0])
    print(con.execute(f"SELECT count(*) FROM glob('{folder}/loop/**')").fetchone()[0])
asyncio.run_coroutine_threadsafe(main(), get_loop()).result(50)
""",
        big,
    )
    assert out.split() == ["600000", "2"]


def test_ctrl_c(big: dict[str, Any]) -> None:
    """DuckDB makes it an error of its own. Now and then it loses one, without our doing; then press again."""
    out = run(
        """
import signal, threading, time
con = connect()
done = threading.Event()
def press():
    time.sleep(0.5)
    while not done.is_set():
        os.kill(os.getpid(), signal.SIGINT)
        done.wait(2)
threading.Thread(target=press, daemon=True).start()
try:
    while True:
        con.execute(f"SELECT sum(i), max(s) FROM '{url}'").fetchall()
except BaseException as exc:
    done.set()
    print("stopped:", "nterrupt" in f"{type(exc)} {exc}")
print(con.execute(f"SELECT count(*) FROM '{url}'").fetchone()[0])
""",
        big,
    )
    assert out.split() == ["stopped:", "True", "600000"]


def test_a_cancelled_query(big: dict[str, Any]) -> None:
    out = run(
        """
import threading, time
con = connect()
done = threading.Event()
def cancel():
    while not done.wait(0.3):
        con.interrupt()
threading.Thread(target=cancel).start()
try:
    while True:
        con.execute(f"SELECT sum(i), max(s) FROM '{url}'").fetchall()
except duckdb.InterruptException:
    print("interrupted")
finally:
    done.set()
time.sleep(0.5)
print(con.execute(f"SELECT count(*) FROM '{url}'").fetchone()[0])
""",
        big,
    )
    assert out.split() == ["interrupted", "600000"]


def test_an_overwrite_in_mid_query_raises(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    con = duckdb.connect()
    opendalfs_duckdb.register(con, fs, cache=False)
    con.execute("SET read_ahead_depth = 1")
    con.execute("SET threads = 1")
    url = f"opendal+s3://{prefix}/a.parquet"
    table = "(SELECT range + {first} AS i, md5((range + {first})::VARCHAR) AS s FROM range(1000000))"
    con.execute(f"COPY {table.format(first=0)} TO '{url}' (ROW_GROUP_SIZE 10000)")
    result = con.execute(f"SELECT i FROM '{url}' WHERE length(s) = 32")
    rows = result.fetchmany(10)
    other = con.cursor()
    other.execute(f"COPY {table.format(first=5_000_000)} TO '{url}' (ROW_GROUP_SIZE 10000)")

    def fetch_the_rest() -> None:
        while more := result.fetchmany(100_000):
            rows.extend(more)

    with pytest.raises(duckdb.Error, match="changed while it was being read"):
        fetch_the_rest()
    con.close()
    assert max(i for (i,) in rows) < 1_000_000
