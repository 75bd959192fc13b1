"""The files of the harness, on the local disk and on the S3 server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import opendalfs
from opendalfs.testing import S3Server
from tests.integrations.duckdb import harness

CACHEABLE_AFTER = 11.0
"""Seconds: DuckDB caches no file that was written less than 10 s ago."""


@dataclass
class Lake:
    """The harness's files in a bucket, and the same ones in a local folder."""

    local: Path
    prefix: str
    options: dict[str, Any] = field(repr=False)
    expected: dict[str, Any] = field(repr=False)
    since: float

    def url(self, key: str, scheme: str = "opendal+s3") -> str:
        return f"{scheme}://{self.prefix}/{key}"

    def wait_until_cacheable(self) -> None:
        time.sleep(max(0.0, self.since + CACHEABLE_AFTER - time.monotonic()))


def make_lake(server: S3Server, folder: Path) -> Iterator[Lake]:
    harness.make_files(folder)
    name = f"duckdb-{uuid4().hex[:12]}"
    options = server.options
    fs = opendalfs.filesystem("s3", **options)
    prefix = f"{server.bucket}/{name}"
    fs.pipe(
        {
            f"{prefix}/{file.relative_to(folder).as_posix()}": file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }
    )
    yield Lake(folder, prefix, options, harness.answers(folder), time.monotonic())
    server.remove_prefix(f"{name}/")
