"""The call chains of docs/architecture.md are those of the code, and no stack has more than eight frames."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
import opendalfs_polars
from opendalfs.runtime import executor
from opendalfs.storage.call import Call
from opendalfs.testing import S3Server

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "docs/architecture.md").read_text().partition("## Call chains")[2].partition("\n## ")[0]
MOST_FRAMES = 8


def documented(title: str) -> set[str]:
    """Return the chains below a title of the page, without the names of their threads."""
    block = re.split(r"\n\n|\n```", SECTION.partition(f"\n{title}\n")[2])[0]
    return {re.split(r"\s{2,}", line.strip(), maxsplit=1)[1] for line in block.splitlines()}


def frames_of_ours(frame: FrameType | None) -> str:
    """Return the functions of opendalfs on a stack, outermost first, without comprehensions."""
    names = []
    while frame is not None:
        code = frame.f_code
        folder = Path(code.co_filename).parent
        if any(part.startswith("opendalfs") for part in folder.relative_to(folder.anchor).parts[-3:]):
            name = code.co_qualname.replace("<locals>.", "")
            if not name.endswith("comp>") and "testing" not in folder.parts:
                names.append(name)
        frame = frame.f_back
    return " > ".join(reversed(names))


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Collect the stacks at each call to OpenDAL and wherever work passes to another thread."""
    seen: set[str] = set()

    def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen.add(frames_of_ours(sys._getframe(1)))
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(Call, "__enter__", recorded(Call.__enter__))
    monkeypatch.setattr(executor.BoundedExecutor, "submit", recorded(executor.BoundedExecutor.submit))
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", recorded(asyncio.run_coroutine_threadsafe))
    return seen


@pytest.fixture
def table(s3_server: S3Server) -> str:
    rows = pa.table({f"c{i}": np.random.default_rng(i).random(200_000) for i in range(8)})
    name = f"{s3_server.bucket}/{uuid4().hex}/t.parquet"
    pq.write_table(rows, name, filesystem=opendalfs.arrow("s3", **s3_server.options), row_group_size=50_000)
    return name


def fresh(server: S3Server) -> Any:
    return opendalfs.filesystem("s3", skip_instance_cache=True, **server.options)


def read_table(server: S3Server, table: str) -> None:
    pq.read_table(table, columns=["c1", "c5"], filesystem=opendalfs.arrow(fresh(server)))


def cat_ranges(server: S3Server, table: str) -> None:
    fresh(server).cat_ranges([table] * 3, [0, 5_000_000, 10_000_000], [100, 5_000_100, 10_000_100])


def write(server: S3Server, table: str) -> None:
    with fresh(server).open(f"{table}.copy", "wb") as file:
        file.write(b"content")


def read_in_duckdb(server: S3Server, table: str) -> None:
    with duckdb.connect() as connection:
        connection.register_filesystem(opendalfs.duckdb("s3", **server.options))
        connection.sql(f"SELECT sum(c1) FROM 'opendal+s3://{table}'").fetchall()


def get_from_the_gateway(server: S3Server, table: str) -> None:
    target = opendalfs_polars.target(f"opendal+s3://{table}", server.options, backend="gateway")
    pl.scan_parquet(target.source, storage_options=target.storage_options).select("c1").collect()


@pytest.mark.parametrize(
    ("title", "work"),
    [
        ("pq.read_table, a column chunk", read_table),
        ("cat_ranges", cat_ranges),
        ('open(path, "wb"), write and close', write),
        ("DuckDB, a read of Parquet", read_in_duckdb),
        ("gateway, a GET of Polars", get_from_the_gateway),
    ],
)
def test_the_documented_call_chains_are_those_of_the_code(
    title: str, work: Callable[[S3Server, str], None], s3_server: S3Server, table: str, stacks: set[str]
) -> None:
    stacks.clear()
    work(s3_server, table)
    assert documented(title)
    assert documented(title) <= stacks, sorted(stacks)
    assert max(chain.count(" > ") + 1 for chain in stacks) <= MOST_FRAMES
