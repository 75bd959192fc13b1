"""A process with DuckDB and httpfs: answers requests, which come as JSON lines.

It runs in an environment of its own, with the DuckDB that httpfs exists for, and imports nothing else.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
from duckdb_extensions import import_extension  # type: ignore[import-not-found]


def connect(secret: str) -> Any:
    """Return a new database that has the secret for the storage."""
    con = duckdb.connect()
    con.execute("LOAD httpfs")
    con.execute(secret)
    return con


def resident() -> list[int]:
    """Return the resident memory in bytes, and its peak since the last `forget`."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")]


def run(con: Any, sql: str) -> dict[str, Any]:
    """Run a query and return its rows and what it took."""
    gc.collect()
    before = 0
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        before = resident()[0]
    cpu, start = time.process_time(), time.perf_counter()
    rows = con.execute(sql).fetchall()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    memory = None
    with contextlib.suppress(OSError):
        memory = resident()[1] - before
    shown = [[str(value) for value in row] for row in rows]
    return {"rows": shown, "seconds": seconds, "cpu": cpu, "memory": memory}


def main() -> None:
    """Serve until input ends."""
    import_extension("httpfs")
    secret = json.loads(sys.stdin.readline())["secret"]
    con = connect(secret)
    print(json.dumps({"version": duckdb.__version__}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["fresh"]:
                con.close()
                con = connect(secret)
                for setting in order["settings"]:
                    con.execute(setting)
                answer: dict[str, Any] = {}
            else:
                answer = run(con, order["sql"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
