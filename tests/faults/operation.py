"""An operation of the matrix: what it needs, what it does, and what its right result is."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import opendalfs
from opendalfs.testing import S3Server

__all__ = ["LARGE", "MANY", "OPTIONS", "PAGES", "SMALL", "Objects", "Operation", "Place", "content"]

KiB, MiB = 1 << 10, 1 << 20

OPTIONS = {
    "retries": 3,
    "retry_timeout": 2.0,
    "retry_min_delay": 0.02,
    "retry_max_delay": 0.1,
    "timeout": 4.0,
    "io_timeout": 4.0,
    "read_chunk": 512 * KiB,
    "block_size": 512 * KiB,
    "write_chunk": 5 * MiB,
    "max_gap": 16 * KiB,
}
"""Short timeouts, so that a cell is quick, and small parts, so that small objects need several requests."""

MANY = 2
"""The least number of requests of a kind that an operation sends if it sends more than one."""

PAGES = 1_100
"""Keys of the directory that is listed in two pages."""

Objects = Mapping[str, bytes]
"""Contents of objects by key, relative to the prefix of the cell."""

# botocore keeps ten connections, and logs a warning when more threads use it.
_CONNECTIONS = threading.Semaphore(8)


def content(size: int, seed: int) -> bytes:
    """Return random bytes; the same for the same seed."""
    return random.Random(seed).randbytes(size)


SMALL = content(4 * KiB, 1)
LARGE = content(3 * MiB, 2)


@dataclass
class Place:
    """Where a cell works: a prefix and a local directory of its own, and a filesystem behind a proxy.

    Parameters
    ----------
    server : S3Server
        The server behind the proxy, to prepare objects and to look at what an operation has left.
    prefix : str
        Prefix of the keys.
    options : dict
        Options of filesystems that connect through the proxy.
    local : Path
        An empty directory.
    """

    server: S3Server
    prefix: str
    options: dict[str, Any]
    local: Path

    @cached_property
    def fs(self) -> opendalfs.S3FileSystem:
        """The filesystem under test."""
        return opendalfs.S3FileSystem(skip_instance_cache=True, **self.options)

    @property
    def root(self) -> str:
        """Bucket and prefix."""
        return f"{self.server.bucket}/{self.prefix}"

    def path(self, name: str) -> str:
        """Return the path of an object."""
        return f"{self.root}/{name}"

    def put(self, objects: Objects) -> None:
        """Write objects, past the proxy, and remove all others below the prefix."""
        with _CONNECTIONS:
            for key in self._keys():
                if key not in objects:
                    self.server.client.delete_object(Bucket=self.server.bucket, Key=f"{self.prefix}/{key}")
            for key, data in objects.items():
                self.server.client.put_object(
                    Bucket=self.server.bucket, Key=f"{self.prefix}/{key}", Body=data
                )

    def objects(self) -> dict[str, bytes]:
        """Read all objects below the prefix, past the proxy; not those that only mark a directory."""
        with _CONNECTIONS:
            while True:
                keys = [key for key in self._keys() if not key.endswith("/")]
                with suppress(self.server.client.exceptions.NoSuchKey):
                    # A removal that was given up may take effect late.
                    return {key: self._get(f"{self.prefix}/{key}") for key in keys}

    def _keys(self) -> list[str]:
        pages = self.server.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.server.bucket, Prefix=f"{self.prefix}/"
        )
        return [
            found["Key"].removeprefix(f"{self.prefix}/")
            for page in pages
            for found in page.get("Contents", [])
        ]

    def _get(self, key: str) -> bytes:
        body: bytes = self.server.client.get_object(Bucket=self.server.bucket, Key=key)["Body"].read()
        return body


@dataclass(frozen=True)
class Operation:
    """One row of the matrix.

    Parameters
    ----------
    name : str
        Name in the ids of the tests and in the documentation.
    requests : mapping
        The kinds of requests that it sends when nothing fails, each with 1, or `MANY` for several.
    run : callable
        Performs it and returns a result, from a `Place`.
    result : callable
        Returns what `run` returns when all is right, from the contents of the objects.
    before : mapping
        Objects that exist before it.
    after : mapping, optional
        Objects that exist after it, if it changes any.
    moves : bool
        Whether each content of `before` must exist somewhere after a failure.
    partial : bool
        Whether another run may fail because a part is done, such as the removal of one of two files.
    misled : tuple
        Further results that are right if the server itself says that objects are missing.
    shared : bool
        Whether the objects are those of the directory with `PAGES` keys, which all cells share.
    calls : int
        Number of calls, each with a timeout of its own, that are made one after the other.
    fails : int
        Number of these that may fail before the operation does.
    besides : mapping
        Requests that it may send besides, by kind: if responses are slow or incomplete.
    options : mapping
        Options of the filesystem, besides `OPTIONS`.
    errors : tuple of type
        Exceptions in which an engine passes on our errors, besides OSError.
    staged : tuple of str
        Objects that an engine writes first and then moves, which stay when their removal fails.
    check : callable, optional
        Checks the objects after a success, where `after` cannot state their bytes: returns a problem or None.
    """

    name: str
    requests: Mapping[str, int]
    run: Callable[[Place], Any]
    result: Callable[[Objects], Any] = lambda _: None
    before: Objects = field(default_factory=dict)
    after: Objects | None = None
    moves: bool = False
    partial: bool = False
    misled: tuple[Any, ...] = ()
    shared: bool = False
    calls: int = 1
    fails: int = 1
    besides: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[type[Exception], ...] = ()
    staged: tuple[str, ...] = ()
    check: Callable[[Place, Objects], str | None] | None = None

    @property
    def writes(self) -> bool:
        """Whether it changes objects."""
        return self.after is not None or self.check is not None
