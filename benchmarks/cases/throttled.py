"""A bucket that limits requests: 50 a second, and 30 % of all others are refused as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import obstore

import opendalfs
from benchmarks.access import Access, Skipped
from benchmarks.cases.checks import checksum, key_of
from benchmarks.cases.model import OBSTORE, OURS, S3FS, Case, Peer, Work
from benchmarks.context import Context
from opendalfs.testing import Fault, FaultProxy

FILES = 500
SIZE = 4096
RATE = 50

Read = Callable[[Sequence[str]], Sequence[Any]]


class Incomplete(Exception):
    """Raised when a client did not read all objects."""


def _on(connect: Callable[[Access, dict[str, Any], Context], Read]) -> Peer:
    """Return a peer that reads all objects through a proxy of its own, whose bucket is full."""

    def peer(context: Context) -> Work:
        if context.proxy is None:
            raise Skipped("needs a server of its own")
        paths = context.fill("throttled", context.count(FILES), SIZE)
        direct = Access.of(context.direct)

        def work() -> Any:
            with FaultProxy(direct.endpoint) as proxy:
                options = proxy.through({**context.direct, "endpoint_url": direct.endpoint})
                read = connect(Access.of(options), options, context)
                proxy.inject(
                    Fault("any", "status-503", times=None, fraction=0.3),
                    Fault("any", "throttle", times=None, rate=RATE, burst=RATE),
                )
                begun = time.monotonic()
                found = read(paths)
                seconds, requests = time.monotonic() - begun, sum(proxy.requests().values())
            right = [data for data in found if isinstance(data, bytes)]
            if len(right) < len(paths):
                raise Incomplete(
                    f"{len(right)} of {len(paths)} objects in {seconds:.1f} s, {requests} requests"
                )
            return right

        return work

    return peer


def _ours(access: Access, options: dict[str, Any], context: Context) -> Read:
    fs = opendalfs.filesystem("s3", skip_instance_cache=True, **options)
    return lambda paths: list(fs.cat(list(paths), on_error="return").values())


def _s3fs(access: Access, options: dict[str, Any], context: Context) -> Read:
    fs = access.s3fs()
    return lambda paths: list(fs.cat(list(paths), on_error="return").values())


def _obstore(access: Access, options: dict[str, Any], context: Context) -> Read:
    store = access.obstore(context.root.partition("/")[0])

    async def one(path: str) -> bytes:
        return bytes(await (await obstore.get_async(store, key_of(path))).bytes_async())

    async def read(paths: Sequence[str]) -> Sequence[Any]:
        return await asyncio.gather(*map(one, paths), return_exceptions=True)

    return lambda paths: asyncio.run(read(paths))


def _pyarrow(access: Access, options: dict[str, Any], context: Context) -> Read:
    fs = access.pyarrow()

    def one(path: str) -> Any:
        try:
            with fs.open_input_file(path) as file:
                return file.read()
        except OSError as error:
            return error

    def read(paths: Sequence[str]) -> Sequence[Any]:
        with ThreadPoolExecutor(64) as threads:
            return list(threads.map(one, paths))

    return read


_PEERS = {OURS: _on(_ours), S3FS: _on(_s3fs), OBSTORE: _on(_obstore), "pyarrow": _on(_pyarrow)}

CASES = [Case("raw", "cat, 500 files of a throttled bucket", _PEERS, checksum, near=True, once=True)]
