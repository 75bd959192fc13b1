"""Cold processes: the first work of a fresh interpreter, as scripts do it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cases.arrow import APART, PYARROW, THREE
from benchmarks.cases.duck import HTTPFS, QUERY_6
from benchmarks.cases.model import LOCAL, OURS, Case, Peer, Work
from benchmarks.context import Context
from benchmarks.httpfs import Httpfs
from benchmarks.measured import Elsewhere

WARM = "opendalfs, second time"
UNHINTED = "opendalfs, call_hints=False"
ORDERS = ["o_orderkey", "o_totalprice"]
SMALL = ["c0", "c3"]

_ROOT = Path(__file__).parents[2]
_NATIVE = "import pyarrow.dataset, pyarrow.fs, pyarrow.parquet"


def in_child(order: dict[str, Any], *, to_the_exit: bool = False) -> Elsewhere:
    """Do an order in a fresh process.

    Parameters
    ----------
    order : dict
        What `benchmarks.cold_child` reads.
    to_the_exit : bool
        Whether the seconds are those until the process has ended, in place of those of the call.

    Returns
    -------
    Elsewhere
        The digest of the result as text, and what it took.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cold_child"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
        env=_environment(),
    )
    ended = time.perf_counter()
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    took = json.loads(done.stdout)
    # The clock of all processes of a machine is the same one.
    begun = took.pop("begun")
    return Elsewhere(**took | ({"seconds": ended - begun} if to_the_exit else {}))


def _environment() -> dict[str, str]:
    """Return an environment in which the bytecode of modules is kept, as in an installation."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _ours(order: Callable[[Context], dict[str, Any]], **more: Any) -> Peer:
    """Return opendalfs as a peer; `more` adds to the order, in which ``options`` are those of opendalfs."""

    def peer(context: Context) -> Work:
        options = {**context.options, **more.get("options", {})}
        full = {"service": context.service, **order(context), **more, "options": options}
        return lambda: in_child(full)

    return peer


def _reads(columns: list[str], where: Callable[[Context], Path]) -> dict[str, Peer]:
    """Return the peers that read some columns with ``pq.read_table``."""

    def order(context: Context) -> dict[str, Any]:
        return {"work": "read_table", "path": context.remote(where(context)), "columns": columns}

    def native(context: Context) -> Work:
        full = {**order(context), "service": "pyarrow", "options": context.access.pyarrow_options()}
        return lambda: in_child(full)

    def local(context: Context) -> Work:
        full = {**order(context), "service": None, "path": str(where(context))}
        return lambda: in_child(full)

    return {
        OURS: _ours(order),
        UNHINTED: _ours(order, options={"call_hints": False}),
        WARM: _ours(order, times=2),
        PYARROW: native,
        LOCAL: local,
    }


def httpfs(context: Context) -> Work:
    """Return query 6 of TPC-H in a new process of DuckDB with httpfs."""
    text = QUERY_6.format(f"s3://{context.remote(context.lineitem)}")

    def work() -> Elsewhere:
        with Httpfs(context.access) as process:
            found = process.query(text)
        return Elsewhere(repr(found.outcome), found.seconds, found.cpu, found.memory)

    return work


def _queries() -> dict[str, Peer]:
    """Return the peers that run query 6 of TPC-H in DuckDB."""

    def order(context: Context) -> dict[str, Any]:
        return {"work": "query", "sql": QUERY_6.format(context.url(context.remote(context.lineitem)))}

    return {OURS: _ours(order), WARM: _ours(order, times=2), HTTPFS: httpfs}


def _imports() -> dict[str, Peer]:
    """Return the peers that start an interpreter and import what a script of theirs imports."""

    def of(statement: str) -> Peer:
        command = [sys.executable, "-c", statement]
        return lambda _: lambda: subprocess.run(command, check=True, cwd=_ROOT, env=_environment()).returncode

    return {
        OURS: of(f"{_NATIVE}, opendalfs_arrow"),
        PYARROW: of(_NATIVE),
        "Python itself": of("pass"),
    }


def _case(name: str, found: dict[str, Peer], **more: Any) -> Case:
    return Case("cold", name, found, repr, **more)


READS: dict[str, tuple[list[str], Callable[[Context], Path]]] = {
    "pq.read_table, 4 columns that lie apart": (APART, lambda context: context.lineitem),
    "pq.read_table, orders, 2 columns": (ORDERS, lambda context: context.orders),
    "directory of 20 files, 3 columns": (THREE, lambda context: context.parts),
    "directory of 400 small files, 2 columns": (SMALL, lambda context: context.small_tables),
}
"""Columns and data of each read, by the name of the case."""

QUERY = "DuckDB, Q6"

CASES = [
    *(_case(name, _reads(columns, where)) for name, (columns, where) in READS.items()),
    _case(QUERY, _queries()),
    _case("interpreter and imports", _imports(), near=True),
]
