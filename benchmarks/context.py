"""The environment of a benchmark: a server, the delay proxy before it, the data, the clients.

*Cold* means that a client has nothing cached: no listing, size, footer or block. It keeps its connections, as
a long-lived process does: opening them would measure TLS and start-up, and not every peer can close them. So
each round gets:

* opendalfs: a new filesystem that shares no cache with the one before;
* s3fs: the same filesystem with its listings invalidated, because creating one costs 0.1 s and more;
* obstore, S3FileSystem of pyarrow, the native store of Polars: the same client; they have no caches;
* `opendalfs.serve`: the same server, which knows the versions of the objects that it has read;
* DuckDB: a new database, which holds the caches of blocks and metadata, for every peer.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.fs
from obstore.store import S3Store
from s3fs import S3FileSystem

import opendalfs
from benchmarks import data
from benchmarks.access import Access, Skipped
from benchmarks.httpfs import Httpfs
from benchmarks.networks import DEFAULT, NETWORKS, Network
from benchmarks.raw_http import RawClient
from opendalfs.testing import DelayProxy, s3_server
from opendalfs_gateway import S3Endpoint

FOLDER = "opendalfs-benchmarks"


@dataclass(frozen=True)
class Settings:
    """Settings of a run. The defaults are the network ``lab``, and data of some hundred megabytes.

    Parameters
    ----------
    scale : float
        Scale factor of TPC-H.
    latency : float
        Seconds to the first byte of a response.
    bandwidth : float
        Bytes per second on a connection; 0 is no limit.
    rounds : int
        How often each peer does each piece of work at most; 0 is once, without a warm-up.
    budget : float
        Seconds after which a case starts no further round, once it has had three.
    share : float
        Fraction of the full number of files, keys and ranges.
    network : str
        Name of the network that gave latency and bandwidth.
    slow_share, slow_factor : float
        Fraction of the requests that are slow, and how many times as long they take.
    """

    scale: float = 2.0
    latency: float = NETWORKS[DEFAULT].latency
    bandwidth: float = NETWORKS[DEFAULT].bandwidth
    rounds: int = 5
    budget: float = 12.0
    share: float = 1.0
    network: str = DEFAULT
    slow_share: float = 0.0
    slow_factor: float = 1.0

    def on(self, network: str) -> Settings:
        """Return these settings with the latency and the bandwidth of a network."""
        there = NETWORKS[network]
        return replace(
            self,
            network=network,
            latency=there.latency,
            bandwidth=there.bandwidth,
            slow_share=there.slow_share,
            slow_factor=there.slow_factor,
        )

    def __str__(self) -> str:
        network = Network("", self.latency, self.bandwidth, self.slow_share, self.slow_factor)
        return f"TPC-H scale {self.scale:g}, {network}, at most {self.rounds} rounds"


SMOKE = Settings(scale=0.1, latency=0.001, rounds=0, share=0.02)


@dataclass
class Context:
    """A storage with the data on it, and the clients.

    Parameters
    ----------
    settings : Settings
        The settings of the run.
    service : str
        Name of the service.
    root : str
        Path on the storage below which all data is.
    options : dict
        Options of opendalfs for the measured connection.
    direct : dict
        Options that bypass the proxy, for uploading the data.
    proxy : DelayProxy, optional
        The proxy that adds latency and counts; None for the user's own storage.
    """

    settings: Settings
    service: str
    root: str
    options: dict[str, Any] = field(repr=False)
    direct: dict[str, Any] = field(repr=False)
    proxy: DelayProxy | None = None
    _published: dict[str, str] = field(default_factory=dict)
    _turns: Iterator[int] = field(default_factory=itertools.count)
    _exits: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Context:
        # With it OpenDAL looks up a backtrace for each error, which takes 65 ms the first time.
        os.environ.pop("RUST_BACKTRACE", None)
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    # The data

    def count(self, full: int) -> int:
        """Return a number of files, keys or ranges: `full`, or a fraction for a smoke test."""
        return max(2, round(full * self.settings.share))

    @cached_property
    def scratch(self) -> Path:
        """A local directory for caches on disk, which is removed at the end."""
        return Path(self._exits.enter_context(TemporaryDirectory(prefix="opendalfs-benchmark-")))

    def path(self, name: str) -> str:
        """Return a path below the root that no data set uses."""
        return f"{self.root}/work/{name}"

    @cached_property
    def uploader(self) -> Any:
        """A filesystem that bypasses the proxy: uploads the data, unmeasured."""
        return opendalfs.filesystem(self.service, **self.direct)

    @cached_property
    def lineitem(self) -> Path:
        """The local lineitem."""
        return data.tpch(self.settings.scale)["lineitem"]

    @cached_property
    def orders(self) -> Path:
        """The local orders."""
        return data.tpch(self.settings.scale)["orders"]

    @cached_property
    def small_tables(self) -> Path:
        """The local directory of 400 small files."""
        return data.small_tables(self.count(400))

    @cached_property
    def parts(self) -> Path:
        """The local lineitem as 20 files."""
        return data.parts(self.settings.scale / 2)

    @cached_property
    def hive(self) -> Path:
        """The local hive tree."""
        return data.hive(self.settings.scale)

    @cached_property
    def csv(self) -> Path:
        """The local csv.gz."""
        return data.csv(self.settings.scale)

    @cached_property
    def growth(self) -> Path:
        """The local directories of 1, 10, 100 and 1,000 files."""
        return data.growth()

    def remote(self, local: Path) -> str:
        """Return the path of a local file or directory on the storage; the first call uploads it."""
        name = f"{local.parent.name}/{local.name}" if local.is_file() else local.name
        if name not in self._published:
            path = f"{self.root}/data/{name}"
            if local.is_file():
                self._upload([local], [path])
            else:
                files = sorted(f for f in local.rglob("*") if f.is_file())
                self._upload(files, [f"{path}/{f.relative_to(local).as_posix()}" for f in files])
            self._published[name] = path
        return self._published[name]

    def _upload(self, files: Sequence[Path], paths: Sequence[str]) -> None:
        self.uploader.put([str(f) for f in files], list(paths))

    def fill(self, name: str, count: int, size: int) -> list[str]:
        """Create many small objects, once; return their paths."""
        folder = self.path(name)
        paths = [f"{folder}/{i // 1000:03}/{i:06}" for i in range(count)]
        if name not in self._published:
            self.refill(name, count, size)
            self._published[name] = folder
        return paths

    def refill(self, name: str, count: int, size: int) -> str:
        """Create many small objects, also those that were removed; return their directory."""
        folder = self.path(name)
        content = {
            f"{folder}/{i // 1000:03}/{i:06}": i.to_bytes(8, "big") * (size // 8) for i in range(count)
        }
        self.uploader.pipe(content)
        return folder

    # The clients

    def opendalfs(self, **settings: Any) -> Any:
        """Return a new opendalfs filesystem with empty caches."""
        return opendalfs.filesystem(self.service, **self.unique(), **settings, skip_instance_cache=True)

    def unique(self) -> dict[str, Any]:
        """Return options that no other filesystem has: equal ones share caches."""
        return {**self.options, "listings_expiry_time": 30 + next(self._turns) * 1e-6}

    @cached_property
    def access(self) -> Access:
        """Endpoint and credentials for the peers."""
        if self.service != "s3":
            raise Skipped(f"reads S3, not {self.service}")
        return Access.of(self.options)

    def s3fs(self) -> S3FileSystem:
        """Return s3fs with its caches invalidated."""
        self._s3fs.invalidate_cache()
        return self._s3fs

    def s3fs_tuned(self) -> S3FileSystem:
        """Return s3fs with settings for this work, its caches invalidated.

        More than ten connections; blocks small enough that `cat_file` splits; no read-ahead, because Parquet
        uses little of it.
        """
        self._s3fs_tuned.invalidate_cache()
        return self._s3fs_tuned

    @cached_property
    def _s3fs(self) -> S3FileSystem:
        return self.access.s3fs()

    @cached_property
    def _s3fs_tuned(self) -> S3FileSystem:
        return self.access.s3fs(
            default_cache_type="none",
            default_block_size=8 << 20,
            max_concurrency=32,
            config_kwargs={"max_pool_connections": 64},
        )

    @cached_property
    def pyarrow(self) -> pyarrow.fs.S3FileSystem:
        """The native S3 client of Arrow."""
        return self.access.pyarrow()

    @cached_property
    def obstore(self) -> S3Store:
        """An obstore store for the bucket."""
        return self.access.obstore(self.root.partition("/")[0])

    @cached_property
    def httpfs(self) -> Httpfs:
        """The native S3 client of DuckDB, in its own process."""
        return self._exits.enter_context(Httpfs(self.access))

    @cached_property
    def endpoint(self) -> S3Endpoint:
        """A server of S3 over the storage, as clients see it that use it for long."""
        source = opendalfs.filesystem(self.service, **self.unique())
        return self._exits.enter_context(opendalfs.serve(source, path=self.root))

    @cached_property
    def raw(self) -> RawClient:
        """Plain HTTP."""
        signer = opendalfs.filesystem(self.service, **self.options)
        return self._exits.enter_context(RawClient(lambda path: str(signer.sign(path, expiration=3600))))

    def url(self, path: str) -> str:
        """Return the URL of a path, as opendalfs spells it."""
        return str(self.uploader.unstrip_protocol(path))


@contextmanager
def running(settings: Settings) -> Iterator[Context]:
    """Start the server and the proxy.

    Parameters
    ----------
    settings : Settings
        The settings of the run.

    Yields
    ------
    Context
        The environment of the cases.
    """
    with s3_server() as server, DelayProxy(server.endpoint) as proxy:
        options = server.options
        root = f"{server.bucket}/{FOLDER}"
        with Context(settings, "s3", root, proxy.through(options), options, proxy) as context:
            yield context


@contextmanager
def visiting(settings: Settings, url: str, options: dict[str, Any], keep: bool = False) -> Iterator[Context]:
    """Use the user's own storage, below a folder of ours.

    Parameters
    ----------
    settings : Settings
        The settings; latency and bandwidth are those of the storage.
    url : str
        ``opendal+<service>://...``.
    options : dict
        Options of the service.
    keep : bool
        Whether the data stays there for the next run.

    Yields
    ------
    Context
        The environment of the cases.
    """
    from fsspec.core import url_to_fs

    fs, root = url_to_fs(url, **options)
    root = f"{root.rstrip('/')}/{FOLDER}"
    with Context(settings, fs.service.scheme, root, options, options) as context:
        try:
            yield context
        finally:
            if not keep and fs.exists(root):
                fs.rm(root, recursive=True)
