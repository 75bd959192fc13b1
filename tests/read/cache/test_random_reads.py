"""Random reads, overwrites, evictions, damage and kills: never a wrong byte, and the limit holds."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.read.cache import background
from opendalfs.read.cache.folder import scan
from opendalfs.testing import S3Server

from .conftest import MakeFileSystem
from .readers import KEYS, content, read_some, start

LIMIT = 3 << 20


class Writer:
    """Overwrites random objects, damages random files of the cache, and clears it now and then."""

    def __init__(self, server: S3Server, bucket: str, folder: Path, seed: int) -> None:
        self._server = server
        self._bucket = bucket
        self._folder = folder
        self._random = random.Random(seed)
        self.written: dict[str, int] = {}
        for key in KEYS:
            self.write(key)

    def write(self, key: str) -> None:
        number = self.written.get(key, 0) + 1
        self._server.client.put_object(Bucket=self._bucket, Key=key, Body=content(key, number))
        self.written[key] = number

    def step(self) -> None:
        self.write(self._random.choice(KEYS))
        kinds = [self._folder / "opendalfs-1" / kind for kind in ("blocks", "packs")]
        files = [entry.path for kind in kinds for entry in scan(str(kind))]
        if files and self._random.random() < 0.5:
            path = self._random.choice(files)
            with suppress(OSError), open(path, "r+b") as file:
                file.seek(self._random.randrange(max(os.path.getsize(path), 1)))
                file.write(b"\x5a" * self._random.randrange(1, 50))
        if self._random.random() < 0.02:
            opendalfs.clear_cache(self._folder)


def size_of(folder: Path) -> int:
    """Return the bytes of all files of the cache, while no process adds or evicts any."""
    with suppress(FileNotFoundError), open(folder / "opendalfs-1" / "usage") as usage:
        fcntl.flock(usage, fcntl.LOCK_EX)
        sizes = {}
        for entry in scan(str(folder)):
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                # A file that is renamed meanwhile may be seen twice.
                sizes[found.st_ino] = found.st_size
        return sum(sizes.values())
    return 0


def run_against(
    seconds: float,
    processes: int,
    threads: int,
    connect: MakeFileSystem,
    writer: Writer,
    folder: Path,
    kills: float = 0,
) -> tuple[int, int, list[dict[str, Any]]]:
    """Read in threads and processes while objects are overwritten; return what there was to see.

    Parameters
    ----------
    seconds, processes, threads
        How long, and by how many.
    connect, writer, folder
        Filesystems, the objects, and the directory of the cache.
    kills : float
        Probability with which a process is killed after an overwrite, and another one takes its place.

    Returns
    -------
    int
        Bytes that the threads compared.
    int
        The largest size of the cache that was seen.
    list of dict
        What the processes printed.
    """
    options = connect(cache_size=LIMIT).storage_options
    children = [start(seconds, seed, options) for seed in range(processes)]
    end = time.monotonic() + seconds
    failures: list[BaseException] = []
    compared = [0] * threads

    def read(i: int) -> None:
        fs, chosen = connect(cache_size=LIMIT, use_listings_cache=False), random.Random(100 + i)
        try:
            while time.monotonic() < end and not failures:
                compared[i] += read_some(fs, chosen, dict(writer.written))
        except BaseException as exc:
            failures.append(exc)

    running = [threading.Thread(target=read, args=(i,)) for i in range(threads)]
    for thread in running:
        thread.start()
    largest, chosen = 0, random.Random(7)
    while time.monotonic() < end and not failures:
        writer.step()
        if chosen.random() < kills:
            i = chosen.randrange(processes)
            kill(children[i])
            children[i] = start(max(end - time.monotonic(), 0.5), chosen.randrange(1000), options)
        largest = max(largest, size_of(folder))
        time.sleep(0.05)
    for thread in running:
        thread.join()
    results = [child.communicate() for child in children]
    for failure in failures:
        raise failure
    assert [child.returncode for child in children] == [0] * processes, results
    return sum(compared), largest, [json.loads(out) for out, _ in results]


def test_threads_and_processes_read_no_wrong_byte(
    s3_server: S3Server, bucket: str, connect: MakeFileSystem, folder: Path
) -> None:
    writer = Writer(s3_server, bucket, folder, 1)
    compared, largest, results = run_against(2, 2, 3, connect, writer, folder)
    assert compared > 0
    assert largest <= LIMIT
    assert all(result["reads"] for result in results)
    background.flush()
    assert size_of(folder) <= LIMIT


def kill_readers(count: int, options: dict[str, Any], writer: Writer) -> None:
    """Start processes that read, and kill them one after the other, four of them alive at any time."""
    chosen = random.Random(5)
    alive: deque[subprocess.Popen[str]] = deque()
    for seed in range(count + 4):
        alive.append(start(300, seed, options))
        time.sleep(0.2 + 0.6 * chosen.random())
        writer.step()
        if len(alive) > 4:
            kill(alive.popleft())
    for child in alive:
        kill(child)


def kill(child: subprocess.Popen[str]) -> None:
    """Kill a process, which must not have failed before."""
    child.kill()
    out, err = child.communicate()
    assert child.returncode in (-signal.SIGKILL, 0), (out, err)


def check_after(connect: MakeFileSystem, writer: Writer) -> None:
    """Read all objects with the cache that is left, twice, and compare them."""
    for _ in range(2):
        fs = connect(cache_size=LIMIT)
        for key, number in writer.written.items():
            assert fs.cat_file(key) == content(key, number)
        background.flush()


@pytest.mark.services
@pytest.mark.timeout(600)
def test_two_hundred_killed_processes_leave_a_cache_that_works(
    s3_server: S3Server, bucket: str, connect: MakeFileSystem, folder: Path
) -> None:
    writer = Writer(s3_server, bucket, folder, 3)
    kill_readers(int(os.environ.get("KILLS", 200)), connect(cache_size=LIMIT).storage_options, writer)
    check_after(connect, writer)
    assert size_of(folder) <= LIMIT
    assert opendalfs.cache_info(folder).blocks > 0
    opendalfs.clear_cache(folder)
    assert list((folder / "opendalfs-1" / "tmp").iterdir()) == []


@pytest.mark.services
@pytest.mark.timeout(300)
def test_four_processes_of_which_some_are_killed_keep_the_limit_for_two_minutes(
    s3_server: S3Server, bucket: str, connect: MakeFileSystem, folder: Path
) -> None:
    writer = Writer(s3_server, bucket, folder, 4)
    compared, largest, results = run_against(
        float(os.environ.get("SECONDS_OF_READS", 120)), 4, 2, connect, writer, folder, kills=0.05
    )
    assert compared > 0
    assert largest <= LIMIT
    assert sum(result["hits"] for result in results) > 0
