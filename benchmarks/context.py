"""What a benchmark runs in: a server, the proxy that makes it distant, the data, the clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.fs
from s3fs import S3FileSystem

import opendalfs
from benchmarks.data import publish, tpch
from benchmarks.proxy import DelayProxy
from tests.servers import S3Server, s3_server_from_env


@dataclass(frozen=True)
class Settings:
    """What is measured: the defaults are an S3 near by, and data that takes a while to read."""

    scale: float = 2.0
    latency: float = 0.030
    bandwidth: float = 90e6
    rounds: int = 5

    def __str__(self) -> str:
        limit = f"{self.bandwidth / 1e6:g} MB/s a connection" if self.bandwidth else "no limit"
        return (
            f"TPC-H scale {self.scale:g}, {self.latency * 1e3:g} ms to the first byte, {limit}, "
            f"{self.rounds} rounds"
        )


SMOKE = Settings(scale=0.1, latency=0.002, rounds=1)


@dataclass
class Context:
    """A running server behind a running proxy, with the data on it.

    The clients are made once and keep their connections, as a long-lived process would. Each of
    them gives up what it remembers of the storage, so that every round asks for all of it.
    """

    settings: Settings
    server: S3Server
    proxy: DelayProxy
    local: dict[str, Path]
    remote: dict[str, str]

    @property
    def options(self) -> dict[str, Any]:
        """Options of a client that goes through the proxy, in the names of s3fs."""
        return self.proxy.through(self.server.s3_options)

    def opendalfs(self) -> Any:
        """Give our filesystem, with nothing remembered."""
        filesystem = opendalfs.filesystem("s3", **self.options)
        filesystem.invalidate_cache()
        return filesystem

    def s3fs(self) -> S3FileSystem:
        """Give s3fs, with nothing remembered."""
        self._s3fs.invalidate_cache()
        return self._s3fs

    @cached_property
    def _s3fs(self) -> S3FileSystem:
        return S3FileSystem(**self.options)

    @cached_property
    def pyarrow(self) -> pyarrow.fs.S3FileSystem:
        """Arrow's own S3 client, which remembers nothing."""
        return pyarrow.fs.S3FileSystem(
            access_key=self.server.access_key,
            secret_key=self.server.secret_key,
            region=self.server.region,
            endpoint_override=self.proxy.endpoint,
        )


@contextmanager
def running(settings: Settings) -> Iterator[Context]:
    """Start the server and the proxy, and bring the data there at full speed.

    Parameters
    ----------
    settings : Settings
        What is measured.

    Yields
    ------
    Context
        What the cases need.
    """
    local = tpch(settings.scale)
    with s3_server_from_env() as server, DelayProxy(server.endpoint) as proxy:
        remote = {table: publish(server, file) for table, file in local.items()}
        proxy.set(latency=settings.latency, bandwidth=settings.bandwidth)
        yield Context(settings, server, proxy, local, remote)
