"""Work in a fresh process: no connection is open, nothing is cached, no memory is touched.

Reads an order as JSON from the standard input and prints what the work took. Imports are not measured; the
row "interpreter and imports" shows what they take.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import opendalfs
from benchmarks.cases.model import rows, table_digest
from benchmarks.measured import timed


def _options(order: dict[str, Any], turn: int) -> dict[str, Any]:
    """Return options that no other filesystem has, so that nothing but connections is shared."""
    return {**order["options"], "listings_expiry_time": 30 + turn * 1e-6}


def read_table(order: dict[str, Any]) -> Callable[[int], Any]:
    """Return the reading of Parquet through opendalfs or pyarrow's own S3 client, or of a local file."""
    import pyarrow.dataset
    import pyarrow.fs
    import pyarrow.parquet as pq

    import opendalfs_arrow

    def read(turn: int) -> Any:
        filesystem: Any
        if order["service"] is None:
            filesystem = None
        elif order["service"] == "pyarrow":
            filesystem = pyarrow.fs.S3FileSystem(**order["options"])
        else:
            filesystem = opendalfs_arrow.arrow(order["service"], **_options(order, turn))
        return pq.read_table(order["path"], columns=order["columns"], filesystem=filesystem)

    return read


def query(order: dict[str, Any]) -> Callable[[int], Any]:
    """Return a query of DuckDB through opendalfs."""
    import duckdb

    import opendalfs_duckdb

    def run(turn: int) -> Any:
        con = duckdb.connect()
        opendalfs_duckdb.register(con, opendalfs.filesystem(order["service"], **_options(order, turn)))
        return con.execute(order["sql"]).fetchall()

    return run


def main() -> None:
    """Do the work as often as the order says, and print what the last time took."""
    order: dict[str, Any] = json.load(sys.stdin)
    work, digest = (query(order), rows) if "sql" in order else (read_table(order), table_digest)
    for turn in range(order.get("times", 1)):
        found = timed(partial(work, turn))
    shown = repr(digest(found.outcome))
    print(json.dumps({"outcome": shown, "seconds": found.seconds, "cpu": found.cpu, "memory": found.memory}))


if __name__ == "__main__":
    main()
