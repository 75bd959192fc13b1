"""Read-ahead of sequential reads."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opendalfs
from opendalfs.read import readahead
from opendalfs.read.readahead import ReadAhead
from opendalfs.read.reader import Reader
from opendalfs.testing import DelayProxy, S3Server
from opendalfs_duckdb.read_handle import READ_AHEAD, ReadHandle

SIZE = 3_000_000
DATA = b"".join(i.to_bytes(4, "big") for i in range(SIZE // 4))


def reader_of(data: bytes) -> Reader:
    fs = opendalfs.filesystem("memory")
    path = f"duckdb-handle/{uuid4().hex}"
    fs.pipe_file(path, data)
    return fs.reader(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(0, SIZE)), st.integers(0, 700_000)), max_size=12))
def test_readahead_gives_the_files_bytes(steps: list[tuple[int | None, int]]) -> None:
    ahead = ReadAhead(_READER, READ_AHEAD)
    position = 0
    for jump, wanted in steps:
        position = position if jump is None else jump
        size = min(wanted, SIZE - position)
        assert ahead.read(position, size) == DATA[position : position + size]
        held = ahead.held(position, size)
        assert held is None or held == DATA[position : position + size]
        position += size


_READER = reader_of(DATA)


def test_small_reads_become_few_requests() -> None:
    handle = ReadHandle(reader_of(DATA), "x")
    with opendalfs.trace() as t:
        while handle.read(32_768):
            pass
        handle.seek(0)
        assert handle.read(10) == DATA[:10]
    assert t.count("read") <= 5


def test_a_stream_that_is_read_twice_is_fetched_once() -> None:
    handle = ReadHandle(reader_of(DATA), "x")
    with opendalfs.trace() as t:
        for turn in range(2):
            if turn:
                handle.seek(0)
            got = [handle.read(10)]
            while data := handle.read(32_768):
                got.append(data)
            assert b"".join(got) == DATA
    assert t.bytes == SIZE
    del handle
    assert readahead.KEPT.held == 0


def test_what_is_kept_for_a_second_reading_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead.KEPT, "limit", 1_000_000)
    streams = [ReadAhead(reader_of(DATA), READ_AHEAD) for _ in range(3)]
    for stream in streams:
        for offset in range(0, SIZE, 50_000):
            stream.read(offset, min(50_000, SIZE - offset))
        assert readahead.KEPT.held <= 1_000_000
    assert readahead.KEPT.held > 0
    del stream, streams
    assert readahead.KEPT.held == 0


def test_the_blocks_of_a_far_stream_are_fetched_side_by_side(s3_server: S3Server, prefix: str) -> None:
    opendalfs.filesystem("s3", **s3_server.options).pipe_file(f"{prefix}/far", DATA)
    with DelayProxy(s3_server.endpoint, latency=0.03) as proxy, opendalfs.trace() as t:
        fs = opendalfs.filesystem("s3", **proxy.through(s3_server.options))
        handle = ReadHandle(fs.reader(f"{prefix}/far"), "far")
        while handle.read(32_768):
            pass
    assert t.in_flight >= 3
    # The size, the first block, and all others; and what a busy machine puts in a row.
    assert t.round_trips <= 4
