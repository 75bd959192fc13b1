"""One read in a fresh process: no connection is open, and nothing is cached.

Reads its order as JSON from the standard input and prints what the read took. Imports are not measured.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq

import opendalfs
from benchmarks.cases.model import table_digest
from benchmarks.measured import timed


def main() -> None:
    order: dict[str, Any] = json.load(sys.stdin)
    filesystem: Any
    if order["service"] is None:
        filesystem = pyarrow.fs.S3FileSystem(**order["options"])
    else:
        filesystem = opendalfs.arrow(order["service"], **order["options"])
    found = timed(lambda: pq.read_table(order["path"], columns=order["columns"], filesystem=filesystem))
    digest = repr(table_digest(found.outcome))
    print(json.dumps({"outcome": digest, "seconds": found.seconds, "cpu": found.cpu, "memory": found.memory}))


if __name__ == "__main__":
    main()
