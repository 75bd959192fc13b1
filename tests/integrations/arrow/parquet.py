"""Parquet files for the tests of scans."""

from __future__ import annotations

import io
import uuid
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.read.plan import RequestSizes
from opendalfs_arrow import footer, scan
from tests.integrations.arrow.places import (
    Place,
    chunk_bytes,
    numbers,
)

MEMORY = opendalfs.filesystem("memory")
FS = opendalfs.arrow("memory")


def store(data: bytes) -> str:
    """Keep a file in memory, in a directory that nothing is remembered of."""
    path = f"planner/{uuid.uuid4().hex}/f.parquet"
    MEMORY.pipe_file(path, data)
    return path


def written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def mixed(rows: int, seed: int = 0) -> pa.Table:
    """Make a table with columns of every shape: flat, repeated words, nulls, lists, structs, maps."""
    rng = np.random.default_rng(seed)
    ids = np.arange(rows)
    return pa.table(
        {
            "id": ids,
            "word": pa.array([("alpha", "beta", "gamma")[i % 3] for i in ids]),
            "maybe": pa.array([None if i % 5 == 0 else float(i) for i in ids], pa.float64()),
            "noise": rng.random(rows),
            "list": pa.array([list(range(i % 4)) for i in ids], pa.list_(pa.int32())),
            "struct": pa.array([{"x": int(i), "y": {"z": str(i)}} for i in ids]),
            "map": pa.array([[("k", int(i))] for i in ids], pa.map_(pa.string(), pa.int64())),
            "name with.dot": rng.random(rows),
        }
    )


def shrink(monkeypatch: pytest.MonkeyPatch, tail: int, part: int, gap: int) -> None:
    monkeypatch.setattr(footer, "WHOLE", 0)
    monkeypatch.setattr(footer, "TAIL", tail)
    sizes = RequestSizes(gap, part)
    monkeypatch.setattr(scan, "RequestSizes", SimpleNamespace(of_scan=lambda _: sizes))


class Wide:
    """16 columns in 8 row groups, 25 MB, on S3."""

    NAMES: ClassVar = ["c1", "c5", "c6", "c11"]

    def __init__(self, place: Place) -> None:
        self.place = place
        self.table = numbers(200_000, 16)
        sink = io.BytesIO()
        pq.write_table(self.table, sink, row_group_size=25_000, compression="none", use_dictionary=False)
        self.data = sink.getvalue()
        self.metadata = pq.read_metadata(io.BytesIO(self.data))
        self.chosen = chunk_bytes(self.metadata, self.NAMES)

    def put(self) -> str:
        """Return the path of a copy of the file that no cache knows."""
        path = self.place.path(uuid.uuid4().hex, "wide.parquet")
        self.place.core.pipe_file(path, self.data)
        return path
