"""Many small files, in and out: what a request costs, and how many are made at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import obstore

from benchmarks import data
from benchmarks.cases.checks import called, checksum, key_of, local_check, scratch
from benchmarks.cases.model import OBSTORE, Case, OnFilesystem, Peer, Work, on_fsspec
from benchmarks.context import Context

SMALL = 64 << 10
FILES = 500


def _small(context: Context) -> list[str]:
    return context.fill("small", context.count(FILES), SMALL)


def at_once(calls: Iterable[Any]) -> Any:
    """Await all calls of obstore at the same time."""

    async def gather() -> Any:
        return await asyncio.gather(*calls)

    return asyncio.run(gather())


def _cat_many() -> dict[str, Peer]:
    def make(context: Context) -> OnFilesystem:
        paths = _small(context)

        def cat(fs: Any) -> Any:
            found = fs.cat(paths)
            return [found[path] for path in paths]

        return cat

    def theirs(context: Context) -> Work:
        store, keys = context.obstore, [key_of(p) for p in _small(context)]

        async def one(key: str) -> Any:
            return await (await obstore.get_async(store, key)).bytes_async()

        return lambda: at_once(one(key) for key in keys)

    return {**on_fsspec(make), OBSTORE: theirs}


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
            return checksum([found[path] for path in sorted(found)])

        return look

    def make(context: Context) -> OnFilesystem:
        files = contents(context)

        def pipe(fs: Any) -> Any:
            fs.pipe(files)
            return check(context)

        return pipe

    def theirs(context: Context) -> Work:
        store, files = context.obstore, contents(context)

        def work() -> Any:
            at_once(obstore.put_async(store, key_of(path), content) for path, content in files.items())
            return check(context)

        return work

    return {**on_fsspec(make), OBSTORE: theirs}


def _get_many() -> dict[str, Peer]:
    def folder(context: Context) -> str:
        _small(context)
        return context.path("small")

    def make(context: Context) -> OnFilesystem:
        source, target = f"{folder(context)}/", scratch()

        def get(fs: Any) -> Any:
            fs.get(source, str(target), recursive=True)
            return local_check(target)

        return get

    def theirs(context: Context) -> Work:
        store, prefix, target = context.obstore, key_of(folder(context)), scratch()

        def save(file: Path, content: Any) -> None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

        async def one(key: str, file: Path) -> None:
            save(file, await (await obstore.get_async(store, key)).bytes_async())

        def work() -> Any:
            keys = [meta["path"] for page in obstore.list(store, prefix) for meta in page]
            at_once(one(key, target / key[len(prefix) + 1 :]) for key in keys)
            return local_check(target)

        return work

    return {**on_fsspec(make), OBSTORE: theirs}


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

    def make(context: Context) -> OnFilesystem:
        names = files(context)
        sources, targets = [str(f) for f in names], [f"{context.path('put')}/{f.name}" for f in names]

        def put(fs: Any) -> Any:
            fs.put(sources, targets)
            return check(context)

        return put

    def theirs(context: Context) -> Work:
        store, names, folder = context.obstore, files(context), key_of(context.path("put"))

        def work() -> Any:
            at_once(obstore.put_async(store, f"{folder}/{f.name}", f) for f in names)
            return check(context)

        return work

    return {**on_fsspec(make), OBSTORE: theirs}


def _rm_many() -> dict[str, Peer]:
    def folder(context: Context) -> str:
        return context.refill("gone", context.count(FILES), 8)

    def check(context: Context) -> Callable[[], object]:
        fs, path = context.uploader, context.path("gone")

        def look() -> object:
            fs.invalidate_cache()
            return fs.find(path)

        return look

    def make(context: Context) -> OnFilesystem:
        path = folder(context)

        def rm(fs: Any) -> Any:
            fs.rm(path, recursive=True)
            return check(context)

        return rm

    def theirs(context: Context) -> Work:
        store, prefix = context.obstore, key_of(folder(context))

        def work() -> Any:
            obstore.delete(store, [m["path"] for page in obstore.list(store, prefix) for m in page])
            return check(context)

        return work

    return {**on_fsspec(make, tuned=False), OBSTORE: theirs}


def _case(name: str, peers: dict[str, Peer], digest: Callable[[Any], object], **how: Any) -> Case:
    return Case("raw", name, peers, digest, **how)


CASES = [
    _case("cat, 500 small files", _cat_many(), checksum),
    _case("get, 500 small files", _get_many(), called),
    _case("pipe, 500 small files", _pipe_many(), called, writes=True),
    _case("put, 500 small files", _put_many(), called, writes=True),
    _case("rm(recursive), 500 small files", _rm_many(), called, writes=True),
]
