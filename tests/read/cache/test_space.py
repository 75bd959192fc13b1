"""The limit on the size of a cache, and what is evicted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opendalfs.read.cache import BlockCache
from opendalfs.read.cache.folder import CacheFolder, scan
from opendalfs.read.cache.pack import Record
from opendalfs.read.ranges import Range

from .program import ROOT

MiB = 1 << 20


def open_cache(path: Path, limit: int) -> BlockCache:
    return BlockCache(CacheFolder(str(path)), limit)


def put(cache: BlockCache, name: str, size: int, age: float = 0.0) -> Path:
    """Write a file of some bytes, last used some seconds ago."""
    path = Path(cache.folder.root, "blocks", name[:2], name, f"0-{size}")
    assert cache.space.write_file(str(path), [b"\1" * size])
    when = time.time() - age
    os.utime(path, (when, when))
    return path


def disk_usage(folder: Path) -> int:
    """Return the bytes that all files and directories take on disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 8 * MiB)
    paths = [put(cache, f"{i:02}", MiB, age=1000 - i) for i in range(7)]
    os.utime(paths[0])
    put(cache, "new", MiB)
    assert paths[0].exists()
    assert not paths[1].exists()
    assert paths[6].exists()
    assert not paths[1].parent.exists(), "an empty directory stays"


def put_small(cache: BlockCache, number: int, age: float) -> Path:
    """Write a pack of one record of 50 kB, last used some seconds ago."""
    bucket = cache.packs.bucket(bytes(20), f"{number}/x")
    before = set(Path(bucket.path).glob("*"))
    bucket.write([Record(b"%020d" % number, Range(0, 50_000), b"s" * 50_000)] * 3)
    (path,) = set(Path(bucket.path).glob("*")) - before
    when = time.time() - age
    os.utime(path, (when, when))
    return path


def test_footers_and_small_files_are_kept_longest(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 8 * MiB)
    small = [put_small(cache, i, age=10_000) for i in range(8)]
    for i in range(30):
        put(cache, f"l{i}", MiB, age=100 - i)
    assert all(path.exists() for path in small)


def test_small_files_do_not_fill_the_cache(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 8 * MiB)
    small = [put_small(cache, i, age=10_000 - i) for i in range(40)]
    for i in range(10):
        put(cache, f"l{i}", MiB)
    kept = [path.exists() for path in small]
    assert 8 <= sum(kept) <= 20
    assert kept == sorted(kept), "older ones are kept longer"


def test_a_file_of_more_than_half_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 4 * MiB)
    assert not cache.space.write_file(str(tmp_path / "x"), [bytes(3 * MiB)])


def test_the_limit_holds_on_the_disk(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 4 * MiB)
    for i in range(150):
        put(cache, f"{i:03}", (i * 7919) % 200_000 + 1)
        cache.packs.bucket(bytes(20), f"{i % 5}/x").write([Record(b"%020d" % i, Range(0, 999), bytes(999))])
        if i % 20 == 0:
            assert disk_usage(tmp_path) <= 4 * MiB
    assert disk_usage(tmp_path) <= 4 * MiB


@pytest.mark.parametrize("content", [b"", b"\xff" * 12, b"\xff" * 5], ids=["empty", "wrong", "short"])
def test_a_damaged_count_is_counted_again(tmp_path: Path, content: bytes) -> None:
    cache = open_cache(tmp_path, 4 * MiB)
    put(cache, "a", MiB)
    Path(cache.folder.usage).write_bytes(content)
    for i in range(10):
        put(cache, f"b{i}", MiB)
    assert disk_usage(tmp_path) <= 4 * MiB


def test_a_temporary_file_of_a_killed_writer_is_removed_and_that_of_a_live_one_is_not(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 4 * MiB)
    created = cache.space.create(MiB)
    assert created is not None
    left = Path(cache.folder.temporary())
    left.write_bytes(bytes(MiB))
    for i in range(8):
        put(cache, f"{i}", MiB - 10_000)
    assert Path(created[0]).exists()
    assert not left.exists()
    os.close(created[1])


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_damaged_secret_is_replaced(tmp_path: Path, content: bytes) -> None:
    first = CacheFolder(str(tmp_path))
    assert CacheFolder(str(tmp_path)).secret == first.secret
    Path(first.root, "secret").write_bytes(content)
    second = CacheFolder(str(tmp_path)).secret
    assert len(second) == 32
    assert second != first.secret


def test_another_format_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "opendalfs-2"
    other.mkdir(parents=True)
    (other / "x").write_bytes(b"x")
    cache = open_cache(tmp_path, 4 * MiB)
    for i in range(8):
        put(cache, f"{i}", MiB)
    cache.space.clear()
    assert (other / "x").read_bytes() == b"x"


FILL = """
import sys
from pathlib import Path
from opendalfs.read.cache import BlockCache
from opendalfs.read.cache.folder import CacheFolder
from opendalfs.read.cache.pack import Record
from opendalfs.read.ranges import Range

cache = BlockCache(CacheFolder(sys.argv[1]), 4 << 20)
for i in range(150):
    name = f"{sys.argv[2]}{i:03}"
    cache.space.write_file(f"{cache.folder.root}/blocks/{name[:2]}/{name}/0-100000", [b"1" * 100000])
    record = Record(name.ljust(20).encode(), Range(0, 20000), name.encode() * 5000)
    bucket = cache.packs.bucket(bytes(20), f"{i % 3}/x")
    bucket.write([record])
    location = bucket.find(record.digest).get(record.range)
    if location is not None:
        assert bucket.read(record.digest, record.range, location) in (None, record.content)
"""


@pytest.mark.services
def test_processes_keep_the_limit_together(tmp_path: Path) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", FILL, str(tmp_path), str(i)], cwd=ROOT) for i in range(3)
    ]
    largest = 0
    while any(child.poll() is None for child in children):
        largest = max(largest, sum(map(size_of, scan(str(tmp_path)))))
        time.sleep(0.01)
    assert [child.returncode for child in children] == [0, 0, 0]
    assert 2 * MiB < largest <= 4 * MiB
    assert 2 * MiB < disk_usage(tmp_path) <= 4 * MiB


def size_of(entry: os.DirEntry[str]) -> int:
    """Return the size of a file; 0 if it has been removed."""
    try:
        return entry.stat().st_size
    except OSError:
        return 0


FORK = """
import os, signal, sys, time
from opendalfs.read.cache import BlockCache
from opendalfs.read.cache.folder import CacheFolder

space = BlockCache(CacheFolder(sys.argv[1]), 8 << 20).space
with space.reserve(0):
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
try:
    print(space.write_file(os.path.join(sys.argv[1], "opendalfs-1", "blocks", "aa", "bb", "0-4"), [b"abcd"]))
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_a_child_that_was_forked_in_the_middle_of_a_write_does_not_keep_the_lock(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "True\n"
