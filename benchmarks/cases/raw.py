"""Raw: bytes in and out through the methods of fsspec, and the same through obstore."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import obstore
from fsspec import asyn

from benchmarks.cases.checks import called, checksum, key_of, local_check, names, scratch
from benchmarks.cases.model import LIMIT, OBSTORE, Case, OnFilesystem, Peer, Work, limit, on_fsspec
from benchmarks.cases.small import at_once
from benchmarks.context import Context
from benchmarks.measured import Elsewhere
from benchmarks.raw_http import Part, whole

KEYS = 20_000
ASKED = 200
READS = 200
KIB = 1 << 10
MIB = 1 << 20


# One file


def _big(context: Context) -> str:
    return context.remote(context.lineitem)


def _cat(size: int | None) -> dict[str, Peer]:
    """Return the peers that read a whole object: of `size` bytes, or the big file for None."""

    def path(context: Context) -> str:
        return _big(context) if size is None else context.fill(f"one-{size}", 1, size)[0]

    def theirs(context: Context) -> Work:
        store, key = context.obstore, key_of(path(context))
        return lambda: obstore.get(store, key).bytes()

    def plan(context: Context) -> list[list[Part]]:
        if size is None:
            return whole(context.lineitem, path(context))
        return [[Part(path(context), 0, size)]]

    def make(context: Context) -> OnFilesystem:
        name = path(context)
        return lambda fs: fs.cat_file(name)

    peers = on_fsspec(make, tuned=size is None)
    return {**peers, OBSTORE: theirs, LIMIT: limit(plan)}


def _ranges(count: int, size: int, hole: int) -> dict[str, Peer]:
    """Return the peers that read `count` ranges of the big file, `hole` bytes apart."""

    def plan(context: Context) -> list[Part]:
        path, room, step = _big(context), context.lineitem.stat().st_size, size + hole
        number = min(context.count(count), room // step)
        return [Part(path, i * step, i * step + size) for i in range(number)]

    def make(context: Context) -> OnFilesystem:
        parts = plan(context)
        paths, starts, stops = ([part[i] for part in parts] for i in range(3))
        return lambda fs: fs.cat_ranges(paths, starts, stops)

    def theirs(context: Context) -> Work:
        store, parts = context.obstore, plan(context)
        starts, ends = [p.start for p in parts], [p.stop for p in parts]
        return lambda: obstore.get_ranges(store, key_of(parts[0].path), starts=starts, ends=ends)

    return {**on_fsspec(make), OBSTORE: theirs, LIMIT: limit(lambda c: [plan(c)])}


def _one_of_many(share: float) -> dict[str, Peer]:
    """Return the peers that read 1 MiB of the big file again and again; what counts is a quantile of one."""

    def measure(context: Context, read: Callable[[int], bytes]) -> Elsewhere:
        room = context.lineitem.stat().st_size // MIB
        count = context.count(READS)
        seconds, cpu, size = [], time.process_time(), 0
        for i in range(count):
            start = time.perf_counter()
            size += len(read(i * 7 % room * MIB))
            seconds.append(time.perf_counter() - start)
        quantile = sorted(seconds)[int(share * count)]
        return Elsewhere(size, quantile, time.process_time() - cpu, None)

    def make(context: Context) -> OnFilesystem:
        path = _big(context)
        return lambda fs: measure(context, lambda start: fs.cat_file(path, start=start, end=start + MIB))

    def theirs(context: Context) -> Work:
        store, key = context.obstore, key_of(_big(context))

        def read(start: int) -> bytes:
            return bytes(obstore.get_range(store, key, start=start, length=MIB))

        return lambda: measure(context, read)

    return {**on_fsspec(make, tuned=False), OBSTORE: theirs}


def _check_big(context: Context) -> Callable[[], object]:
    """Return a check of the uploaded big file: its size and its checksum."""
    fs, path = context.uploader, context.path("big")
    return lambda: (fs.info(path, refresh=True)["size"], checksum(fs.cat_file(path)))


def _put() -> dict[str, Peer]:
    """Return the peers that upload the big file."""

    def make(context: Context) -> OnFilesystem:
        def put(fs: Any) -> Any:
            fs.put_file(str(context.lineitem), context.path("big"))
            return _check_big(context)

        return put

    def theirs(context: Context) -> Work:
        store, key = context.obstore, key_of(context.path("big"))

        def work() -> Any:
            obstore.put(store, key, context.lineitem)
            return _check_big(context)

        return work

    return {**on_fsspec(make), OBSTORE: theirs, LIMIT: _put_parts}


def _put_parts(context: Context) -> Work:
    """Return the limit of an upload: its parts by plain HTTP."""
    client = context.access.boto3()
    bucket, _, key = context.path("big").partition("/")
    where = {"Bucket": bucket, "Key": key}
    count = -(-context.lineitem.stat().st_size // (8 * MIB))

    def work() -> Any:
        upload = {**where, "UploadId": client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]}
        numbers = range(1, count + 1)
        urls = [
            client.generate_presigned_url("upload_part", Params={**upload, "PartNumber": n}) for n in numbers
        ]
        tags = context.raw.send(context.lineitem, urls)
        parts = [{"PartNumber": n, "ETag": tag} for n, tag in zip(numbers, tags, strict=True)]
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        return _check_big(context)

    return work


def _get() -> dict[str, Peer]:
    """Return the peers that download the big file."""

    def make(context: Context) -> OnFilesystem:
        name, folder = _big(context), scratch()

        def get(fs: Any) -> Any:
            fs.get_file(name, str(folder / "big"))
            return local_check(folder)

        return get

    def theirs(context: Context) -> Work:
        store, key, folder = context.obstore, key_of(_big(context)), scratch()

        def work() -> Any:
            with (folder / "big").open("wb") as file:
                for chunk in obstore.get(store, key):
                    file.write(chunk)
            return local_check(folder)

        return work

    return {**on_fsspec(make), OBSTORE: theirs}


# Names


def _find() -> dict[str, Peer]:
    def folder(context: Context) -> str:
        context.fill("keys", context.count(KEYS), 8)
        return context.path("keys")

    def theirs(context: Context) -> Work:
        store, prefix = context.obstore, key_of(folder(context))
        return lambda: [m["path"] for page in obstore.list(store, prefix, chunk_size=1000) for m in page]

    def make(context: Context) -> OnFilesystem:
        path = folder(context)
        return lambda fs: fs.find(path)

    return {**on_fsspec(make, tuned=False), OBSTORE: theirs}


def _ask(method: str) -> dict[str, Peer]:
    """Return the peers that call `method` for 200 paths concurrently, within an event loop."""

    def paths(context: Context) -> list[str]:
        return context.fill("asked", context.count(ASKED), 8)

    def make(context: Context) -> OnFilesystem:
        names = paths(context)

        def ask(fs: Any) -> Any:
            async def gather() -> Any:
                return await asyncio.gather(*(getattr(fs, method)(name) for name in names))

            found = asyn.sync(fs.loop, gather)
            return [each if isinstance(each, bool) else each["size"] for each in found]

        return ask

    def theirs(context: Context) -> Work:
        store, keys = context.obstore, [key_of(p) for p in paths(context)]

        def work() -> Any:
            found = at_once(obstore.head_async(store, key) for key in keys)
            return [True if method == "_exists" else meta["size"] for meta in found]

        return work

    return {**on_fsspec(make), OBSTORE: theirs}


def _case(name: str, peers: dict[str, Peer], digest: Callable[[Any], object], **how: Any) -> Case:
    return Case("raw", name, peers, digest, **how)


CASES = [
    _case("cat_file, 1 KiB", _cat(KIB), checksum),
    _case("cat_file, 1 MiB", _cat(MIB), checksum),
    _case("cat_file, the big file", _cat(None), checksum),
    _case("cat_ranges, 150 x 1 MB", _ranges(150, 1_000_000, 1_100_000), checksum),
    _case("cat_ranges, 1,000 x 64 KiB", _ranges(1_000, 64 * KIB, 126 * KIB), checksum),
    _case("cat_ranges, 1,000 x 64 KiB, no delay", _ranges(1_000, 64 * KIB, 126 * KIB), checksum, near=True),
    _case("200 reads of 1 MiB, median of one", _one_of_many(0.5), repr),
    _case("200 reads of 1 MiB, 99th percentile of one", _one_of_many(0.99), repr),
    _case("get, the big file", _get(), called),
    _case("put, the big file", _put(), called, writes=True),
    _case("find, 20,000 keys, no delay", _find(), names, near=True),
    _case("200 info via asyncio", _ask("_info"), repr),
    _case("200 exists via asyncio", _ask("_exists"), repr),
]
