"""The read handle: positions per thread, and few requests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.read.reader import Reader
from opendalfs.testing import S3Server
from opendalfs_duckdb import locator as source_module
from opendalfs_duckdb.locator import Locator
from opendalfs_duckdb.read_handle import ReadHandle

SIZE = 3_000_000
DATA = b"".join(i.to_bytes(4, "big") for i in range(SIZE // 4))


def reader_of(data: bytes) -> Reader:
    fs = opendalfs.filesystem("memory")
    path = f"duckdb-handle/{uuid4().hex}"
    fs.pipe_file(path, data)
    return fs.reader(path)


@pytest.fixture
def handle() -> ReadHandle:
    return ReadHandle(reader_of(DATA), "opendal+memory://duckdb-handle/x")


def test_seek_and_read(handle: ReadHandle) -> None:
    assert handle.seek(100) == 100
    assert handle.read(8) == DATA[100:108]
    assert handle.read(8) == DATA[108:116]
    assert handle.tell() == 116
    assert handle.seek(-4, 2) == SIZE - 4
    assert handle.read(100) == DATA[-4:]
    assert handle.read(100) == b""
    handle.seek(SIZE + 10)
    assert handle.read(1) == b""
    with pytest.raises(ValueError, match="before the beginning"):
        handle.seek(-1)
    handle.seek(SIZE - 10)
    assert handle.read() == DATA[-10:]


def test_another_thread_between_seek_and_read_moves_nothing(handle: ReadHandle) -> None:
    handle.seek(1000)
    with ThreadPoolExecutor(1) as other:
        other.submit(handle.seek, 2_000_000).result()
        assert other.submit(handle.read, 4).result() == DATA[2_000_000:2_000_004]
    assert handle.read(4) == DATA[1000:1004]


def test_a_stream_goes_on_in_another_thread(handle: ReadHandle) -> None:
    handle.seek(0)
    got = [handle.read(10)]
    with ThreadPoolExecutor(1) as other:
        for _ in range(20):
            got += [other.submit(handle.read, 32_768).result(), handle.read(32_768), handle.read(32_768)]
    assert b"".join(got) == DATA[: 10 + 60 * 32_768]


def test_a_seek_before_another_threads_stream_counts_no_more(handle: ReadHandle) -> None:
    handle.seek(0)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(handle.read, 10).result() == DATA[:10]
    assert handle.read(10) == DATA[10:20]


def test_a_read_at_the_end_takes_no_stream_over(handle: ReadHandle) -> None:
    with ThreadPoolExecutor(1) as other:
        other.submit(handle.seek, SIZE).result()
        handle.seek(500)
        other.submit(handle.read, 10).result()
        handle._position = SIZE
        assert other.submit(handle.read, 10).result() == b""
    assert handle.read(4) == DATA[500:504]


def test_many_threads(handle: ReadHandle) -> None:
    failures: list[int] = []

    def work(seed: int) -> None:
        for i in range(300):
            offset = (seed * 7919 + i * 104_729) % SIZE
            handle.seek(offset)
            if handle.read(1000) != DATA[offset : offset + 1000]:
                failures.append(offset)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_overwrite_shows(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    fs.pipe_file(f"{prefix}/a", DATA)
    handle = opendalfs.duckdb("s3", **s3_server.options).open(f"opendal+s3://{prefix}/a")
    handle.seek(0)
    assert handle.read(10) == DATA[:10]
    fs.pipe_file(f"{prefix}/a", DATA[::-1])
    handle.seek(2_000_000)
    with pytest.raises(opendalfs.ChangedError, match="open it again"):
        handle.read(10)


def test_filesystems_of_urls_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_MOST_FILESYSTEMS", 5)
    locator = Locator()
    first = locator.locate("opendal+webdav://host-0/a")[0]
    for i in range(20):
        locator.locate(f"opendal+webdav://host-{i}/a")
    assert len(locator._filesystems) == 5
    assert locator.locate("opendal+webdav://host-0/a")[0] == first
