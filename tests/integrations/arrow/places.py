"""Services and tables for the Arrow tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

import opendalfs
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.tracing import Request, Trace
from tests.versions import before

LOOKS = 2 if before("pyarrow", "26") else 1
"""Stats of a file that `read_table` is passed."""

__all__ = [
    "LOOKS",
    "PLACES",
    "Place",
    "chunk_bytes",
    "data_reads",
    "numbers",
    "read_twice",
    "run_python",
    "s3_place",
]

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Place:
    """A filesystem for pyarrow and a directory in it that is the test's own."""

    name: str
    fs: pafs.PyFileSystem
    root: str

    @property
    def core(self) -> OpendalFileSystem:
        """The filesystem underneath; another view of the same files."""
        handler = self.fs.handler
        return handler.fs or handler.paths.resolve(self.root)[0]

    def path(self, *names: str) -> str:
        return "/".join((self.root, *names))


Lookup = Callable[[str], Any]


def _memory(lookup: Lookup, tmp: Path) -> Place:
    return Place("memory", opendalfs.arrow("memory"), uuid4().hex)


def _fs(lookup: Lookup, tmp: Path) -> Place:
    return Place("fs", opendalfs.arrow("fs"), str(tmp / "fs"))


def _s3(lookup: Lookup, tmp: Path) -> Place:
    return s3_place(lookup("s3_server"))


def _operator_memory(lookup: Lookup, tmp: Path) -> Place:
    fs = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
    return Place("operator-memory", opendalfs.arrow(fs), "data")


def _operator_fs(lookup: Lookup, tmp: Path) -> Place:
    fs = OpendalFileSystem("fs", root=str(tmp / "root"))
    return Place("operator-fs", opendalfs.arrow(fs), "data")


def _s3_urls(lookup: Lookup, tmp: Path) -> Place:
    server = lookup("s3_server")
    fs = opendalfs.arrow(**server.options)
    root = fs.normalize_path(f"opendal+s3://{server.bucket}/arrow/{uuid4().hex}")
    return Place("s3-urls", fs, root)


PLACES: dict[str, Callable[[Lookup, Path], Place]] = {
    "memory": _memory,
    "fs": _fs,
    "s3": _s3,
    "operator-memory": _operator_memory,
    "operator-fs": _operator_fs,
    "s3-urls": _s3_urls,
}


def s3_place(server: Any, **options: Any) -> Place:
    """Return a new directory of the S3 server."""
    fs = opendalfs.arrow("s3", **{**server.options, **options})
    return Place("s3", fs, f"{server.bucket}/arrow/{uuid4().hex}")


def numbers(rows: int, columns: int = 4, seed: int = 0) -> pa.Table:
    """Make a table that does not compress, with a sorted first column for filters."""
    rng = np.random.default_rng(seed)
    data: dict[str, Any] = {"id": np.arange(rows)}
    data |= {f"c{i}": rng.random(rows) for i in range(1, columns)}
    return pa.table(data)


def chunk_bytes(
    metadata: pq.FileMetaData, columns: Iterable[str], groups: Iterable[int] | None = None
) -> int:
    """Add up the sizes of some column chunks."""
    names = set(columns)
    total = 0
    for g in range(metadata.num_row_groups) if groups is None else groups:
        row_group = metadata.row_group(g)
        for c in range(metadata.num_columns):
            column = row_group.column(c)
            if column.path_in_schema in names:
                total += column.total_compressed_size
    return total


def data_reads(trace: Trace, size: int) -> list[Request]:
    """Return the reads of a file of `size` bytes, without the read of its end."""
    return [r for r in trace.records if r.operation == "read" and r.offset + r.bytes < size]


def read_twice(trace: Trace) -> int:
    """Count the bytes that were fetched more than once, over all files."""
    again = 0
    stops: dict[str, int] = {}
    for r in sorted((r for r in trace.records if r.operation == "read"), key=lambda r: (r.key, r.offset)):
        stop = stops.get(r.key, 0)
        again += max(0, min(stop, r.offset + r.bytes) - r.offset)
        stops[r.key] = max(stop, r.offset + r.bytes)
    return again


def run_python(
    code: str, *args: str, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter that finds the packages and the tests."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'integrations'}", **environment},
    )


def put(place: Place, name: str, data: bytes = b"x") -> str:
    path = place.path(name)
    place.fs.create_dir(path.rpartition("/")[0])
    with place.fs.open_output_stream(path) as out:
        out.write(data)
    return path


def names(infos: list[pafs.FileInfo], root: str) -> list[tuple[str, str]]:
    return [(i.path.removeprefix(root + "/"), i.type.name) for i in infos]


TABLE = numbers(2_000)


def parquet(value: int) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [value] * 3}), out)
    return out.getvalue().to_pybytes()
