"""Raw: bytes in and out through fsspec's own methods, next to obstore's."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import obstore
from fsspec import asyn

from benchmarks import data
from benchmarks.cases.model import LIMIT, OURS, Case, Peer, Work, limit, on_fsspec
from benchmarks.context import Context
from benchmarks.raw_http import Part, whole

OBSTORE = "obstore"
SMALL = 64 << 10
FILES = 500
KEYS = 20_000
ASKED = 200
KIB = 1 << 10
MIB = 1 << 20


# What came of it


def _checksum(found: Any) -> object:
    """Tell bytes apart, whole or as a list of pieces."""
    pieces = found if isinstance(found, list) else [found]
    checksum, size = 0, 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
        size += len(memoryview(piece))
    return size, checksum


def _names(found: Iterable[str]) -> object:
    """Tell listings apart by the last two parts of each name, which is what the peers agree on."""
    names = sorted("/".join(name.rsplit("/", 2)[-2:]) for name in found)
    return len(names), hashlib.md5("\n".join(names).encode()).hexdigest()


def _called(look: Callable[[], object]) -> object:
    """Look at what is stored now."""
    return look()


def _key(path: str) -> str:
    return path.partition("/")[2]


# One file


def _big(context: Context) -> str:
    return context.remote(context.lineitem)


def _cat(size: int | None) -> dict[str, Peer]:
    """Give the peers of reading one object whole: of a size, or the big one."""

    def path(context: Context) -> str:
        return _big(context) if size is None else context.fill(f"one-{size}", 1, size)[0]

    def theirs(context: Context) -> Work:
        store, key = context.obstore, _key(path(context))
        return lambda: obstore.get(store, key).bytes()

    def plan(context: Context) -> list[list[Part]]:
        if size is None:
            return whole(context.lineitem, path(context))
        return [[Part(path(context), 0, size)]]

    peers = on_fsspec(lambda fs, c: fs.cat_file(path(c)), tuned=size is None)
    return {**peers, OBSTORE: theirs, LIMIT: limit(plan)}


def _ranges(count: int, size: int, hole: int) -> dict[str, Peer]:
    """Give the peers of reading many ranges of the big file, with holes of one size between them."""

    def plan(context: Context) -> list[Part]:
        path, room, step = _big(context), context.lineitem.stat().st_size, size + hole
        number = min(context.count(count), room // step)
        return [Part(path, i * step, i * step + size) for i in range(number)]

    def on(fs: Any, context: Context) -> Any:
        parts = plan(context)
        return fs.cat_ranges([p.path for p in parts], [p.start for p in parts], [p.stop for p in parts])

    def theirs(context: Context) -> Work:
        store, parts = context.obstore, plan(context)
        starts, ends = [p.start for p in parts], [p.stop for p in parts]
        return lambda: obstore.get_ranges(store, _key(parts[0].path), starts=starts, ends=ends)

    return {**on_fsspec(on), OBSTORE: theirs, LIMIT: limit(lambda c: [plan(c)])}


def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="opendalfs-benchmark-"))


def _put() -> dict[str, Peer]:
    """Give the peers of uploading the big file."""

    def check(context: Context, name: str) -> Callable[[], object]:
        fs, path = context.uploader, context.path(name)
        return lambda: (fs.info(path, refresh=True)["size"], _checksum(fs.cat_file(path)))

    def on(fs: Any, context: Context) -> Any:
        fs.put_file(str(context.lineitem), context.path("big"))
        return check(context, "big")

    def theirs(context: Context) -> Work:
        store, key = context.obstore, _key(context.path("big"))

        def work() -> Any:
            obstore.put(store, key, context.lineitem)
            return check(context, "big")

        return work

    return {**on_fsspec(on), OBSTORE: theirs}


def _local_check(folder: Path) -> Callable[[], object]:
    """Give what tells what arrived in a local folder, and removes it."""

    def look() -> object:
        found = sorted(f for f in folder.rglob("*") if f.is_file())
        checksum = 0
        for file in found:
            checksum = zlib.crc32(file.read_bytes(), checksum)
        shutil.rmtree(folder)
        return len(found), checksum

    return look


def _get() -> dict[str, Peer]:
    """Give the peers of downloading the big file."""

    def on(fs: Any, context: Context) -> Any:
        folder = _scratch()
        fs.get_file(_big(context), str(folder / "big"))
        return _local_check(folder)

    def theirs(context: Context) -> Work:
        store, key = context.obstore, _key(_big(context))

        def work() -> Any:
            folder = _scratch()
            with (folder / "big").open("wb") as file:
                for chunk in obstore.get(store, key):
                    file.write(chunk)
            return _local_check(folder)

        return work

    return {**on_fsspec(on), OBSTORE: theirs}


# Many small files


def _small(context: Context) -> list[str]:
    return context.fill("small", context.count(FILES), SMALL)


def _all(calls: Iterable[Any]) -> Any:
    """Await all calls of obstore at the same time."""

    async def gather() -> Any:
        return await asyncio.gather(*calls)

    return asyncio.run(gather())


def _cat_many() -> dict[str, Peer]:
    def on(fs: Any, context: Context) -> Any:
        found = fs.cat(_small(context))
        return [found[path] for path in sorted(found)]

    def theirs(context: Context) -> Work:
        store, keys = context.obstore, [_key(p) for p in _small(context)]

        async def one(key: str) -> Any:
            return await (await obstore.get_async(store, key)).bytes_async()

        return lambda: _all(one(key) for key in keys)

    return {**on_fsspec(on), OBSTORE: theirs}


def _pipe_many() -> dict[str, Peer]:
    def contents(context: Context) -> dict[str, bytes]:
        folder = context.path("piped")
        return {f"{folder}/{i:04}": bytes([i % 251]) * SMALL for i in range(context.count(FILES))}

    def check(context: Context) -> Callable[[], object]:
        fs, folder = context.uploader, context.path("piped")

        def look() -> object:
            fs.invalidate_cache()
            found = fs.cat(fs.find(folder))
            # So that the next round has to write them all.
            fs.rm(folder, recursive=True)
            return _checksum([found[path] for path in sorted(found)])

        return look

    def on(give: Callable[[Context], Any]) -> Peer:
        def peer(context: Context) -> Work:
            fs, files = give(context), contents(context)

            def work() -> Any:
                fs.pipe(files)
                return check(context)

            return work

        return peer

    def theirs(context: Context) -> Work:
        store, files = context.obstore, contents(context)

        def work() -> Any:
            _all(obstore.put_async(store, _key(path), content) for path, content in files.items())
            return check(context)

        return work

    return {
        OURS: on(lambda c: c.opendalfs()),
        "s3fs": on(lambda c: c.s3fs()),
        "s3fs, tuned": on(lambda c: c.s3fs_tuned()),
        OBSTORE: theirs,
    }


def _get_many() -> dict[str, Peer]:
    def folder(context: Context) -> str:
        _small(context)
        return context.path("small")

    def on(fs: Any, context: Context) -> Any:
        target = _scratch()
        fs.get(f"{folder(context)}/", str(target), recursive=True)
        return _local_check(target)

    def theirs(context: Context) -> Work:
        store, prefix = context.obstore, _key(folder(context))

        def save(target: Path, content: Any) -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

        async def one(key: str, target: Path) -> None:
            save(target, await (await obstore.get_async(store, key)).bytes_async())

        def work() -> Any:
            target = _scratch()
            keys = [meta["path"] for page in obstore.list(store, prefix) for meta in page]
            _all(one(key, target / key[len(prefix) + 1 :]) for key in keys)
            return _local_check(target)

        return work

    return {**on_fsspec(on), OBSTORE: theirs}


def _put_many() -> dict[str, Peer]:
    def check(context: Context) -> Callable[[], object]:
        fs, folder = context.uploader, context.path("put")

        def look() -> object:
            fs.invalidate_cache()
            found = fs.find(folder, detail=True)
            fs.rm(folder, recursive=True)
            return len(found), sum(info["size"] for info in found.values())

        return look

    def files(context: Context) -> list[Path]:
        return data.small(context.count(FILES), SMALL)

    def on(fs: Any, context: Context) -> Any:
        names = files(context)
        fs.put([str(f) for f in names], [f"{context.path('put')}/{f.name}" for f in names])
        return check(context)

    def theirs(context: Context) -> Work:
        store, names, folder = context.obstore, files(context), _key(context.path("put"))

        def work() -> Any:
            _all(obstore.put_async(store, f"{folder}/{f.name}", f) for f in names)
            return check(context)

        return work

    return {**on_fsspec(on), OBSTORE: theirs}


def _rm_many() -> dict[str, Peer]:
    def make(context: Context) -> str:
        return context.refill("gone", context.count(FILES), 8)

    def check(context: Context) -> Callable[[], object]:
        fs, folder = context.uploader, context.path("gone")

        def look() -> object:
            fs.invalidate_cache()
            return fs.find(folder)

        return look

    def on(give: Callable[[Context], Any]) -> Peer:
        def peer(context: Context) -> Work:
            fs, folder = give(context), make(context)

            def work() -> Any:
                fs.rm(folder, recursive=True)
                return check(context)

            return work

        return peer

    def theirs(context: Context) -> Work:
        store, prefix = context.obstore, _key(make(context))

        def work() -> Any:
            obstore.delete(store, [m["path"] for page in obstore.list(store, prefix) for m in page])
            return check(context)

        return work

    return {OURS: on(lambda c: c.opendalfs()), "s3fs": on(lambda c: c.s3fs()), OBSTORE: theirs}


# Names


def _find() -> dict[str, Peer]:
    def folder(context: Context) -> str:
        context.fill("keys", context.count(KEYS), 8)
        return context.path("keys")

    def theirs(context: Context) -> Work:
        store, prefix = context.obstore, _key(folder(context))
        return lambda: [m["path"] for page in obstore.list(store, prefix, chunk_size=1000) for m in page]

    return {**on_fsspec(lambda fs, c: fs.find(folder(c)), tuned=False), OBSTORE: theirs}


def _ask(method: str) -> dict[str, Peer]:
    """Give the peers of asking for 200 names at the same time, within an event loop."""

    def paths(context: Context) -> list[str]:
        return context.fill("asked", context.count(ASKED), 8)

    def on(fs: Any, context: Context) -> Any:
        names = paths(context)

        async def gather() -> Any:
            return await asyncio.gather(*(getattr(fs, method)(name) for name in names))

        found = asyn.sync(fs.loop, gather)
        return [each if isinstance(each, bool) else each["size"] for each in found]

    def theirs(context: Context) -> Work:
        store, keys = context.obstore, [_key(p) for p in paths(context)]

        def work() -> Any:
            found = _all(obstore.head_async(store, key) for key in keys)
            return [True if method == "_exists" else meta["size"] for meta in found]

        return work

    return {**on_fsspec(on), OBSTORE: theirs}


def _case(name: str, peers: dict[str, Peer], digest: Callable[[Any], object], **how: Any) -> Case:
    return Case("raw", name, peers, digest, **how)


CASES = [
    _case("cat_file, 1 KiB", _cat(KIB), _checksum),
    _case("cat_file, 1 MiB", _cat(MIB), _checksum),
    _case("cat_file, the big file", _cat(None), _checksum),
    _case("cat_ranges, 150 x 1 MB", _ranges(150, 1_000_000, 1_100_000), _checksum),
    _case("cat_ranges, 1,000 x 64 KiB", _ranges(1_000, 64 * KIB, 126 * KIB), _checksum),
    _case("cat_ranges, 1,000 x 64 KiB, no delay", _ranges(1_000, 64 * KIB, 126 * KIB), _checksum, near=True),
    _case("get, the big file", _get(), _called),
    _case("put, the big file", _put(), _called, writes=True),
    _case("cat, 500 small files", _cat_many(), _checksum),
    _case("get, 500 small files", _get_many(), _called),
    _case("pipe, 500 small files", _pipe_many(), _called, writes=True),
    _case("put, 500 small files", _put_many(), _called, writes=True),
    _case("rm(recursive), 500 small files", _rm_many(), _called, writes=True),
    _case("find, 20,000 keys, no delay", _find(), _names, near=True),
    _case("200 info via asyncio", _ask("_info"), repr),
    _case("200 exists via asyncio", _ask("_exists"), repr),
]
