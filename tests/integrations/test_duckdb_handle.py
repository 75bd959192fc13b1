"""The parts of the DuckDB adapter, one by one: handle, readahead, glob, Parquet's end."""

from __future__ import annotations

import gzip
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opendalfs
from opendalfs.read.reader import Reader
from opendalfs.testing import DelayProxy, S3Server
from opendalfs_duckdb import ahead
from opendalfs_duckdb import locator as source_module
from opendalfs_duckdb.ahead import ReadAhead
from opendalfs_duckdb.locator import Source
from opendalfs_duckdb.read_handle import ReadHandle
from opendalfs_duckdb.text_end import TextEnd
from opendalfs_duckdb.write_handle import parquet_is_whole

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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(0, SIZE)), st.integers(0, 700_000)), max_size=12))
def test_readahead_gives_the_files_bytes(steps: list[tuple[int | None, int]]) -> None:
    ahead = ReadAhead(_READER)
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
    assert ahead._KEPT.held == 0


def test_what_is_kept_for_a_second_reading_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead._KEPT, "limit", 1_000_000)
    streams = [ReadAhead(reader_of(DATA)) for _ in range(3)]
    for stream in streams:
        for offset in range(0, SIZE, 50_000):
            stream.read(offset, min(50_000, SIZE - offset))
        assert ahead._KEPT.held <= 1_000_000
    assert ahead._KEPT.held > 0
    del stream, streams
    assert ahead._KEPT.held == 0


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


PATTERNS = [
    "*", "*.csv", "?.csv", "[ab].csv", "[!a].csv", "[a-c].csv", "tmp_*", "d/*", "d*/*.csv", "*/*", "**",
    "**/*.csv", "d/**", "d/**/*.csv", "*/e/*.csv", "d/e/[c].csv", "**/e/*", ".h*", "none*",
    "d/?/c.csv", "a.csv", "d", "missing.csv",
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    names = [
        "a.csv",
        "b.csv",
        "c.txt",
        ".h.csv",
        "tmp_x.csv",
        "d/a.csv",
        "d/e/c.csv",
        "d/e/f/c.csv",
        "dd/z.csv",
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x\n1\n")
    return root


@pytest.mark.parametrize("pattern", PATTERNS)
def test_globs_match_as_duckdbs_own(tree: Path, pattern: str) -> None:
    fs = opendalfs.duckdb("fs")
    con = duckdb.connect()
    rows = con.execute("SELECT file FROM glob(?)", [f"{tree}/{pattern}"]).fetchall()
    assert fs.glob(f"opendal+fs://{tree}/{pattern}") == sorted(f"opendal+fs://{file}" for (file,) in rows)


@pytest.mark.parametrize("pattern", ["*", "**"])
def test_globs_leave_out_staged_files(tmp_path: Path, pattern: str) -> None:
    core, fs = opendalfs.filesystem("fs"), opendalfs.duckdb("fs")
    (tmp_path / ".x.csv.0123456789abcdef0123.part").touch()
    with core.open(f"{tmp_path}/b.csv", "wb") as file:
        file.write(bytes(9 << 20))
        assert len(os.listdir(tmp_path)) == 2
        found = fs.glob(f"opendal+fs://{tmp_path}/{pattern}")
    assert [name for name in found if not name.endswith("/")] == [
        f"opendal+fs://{tmp_path}/.x.csv.0123456789abcdef0123.part"
    ]


def test_names_with_wildcards_are_found() -> None:
    core = opendalfs.filesystem("memory")
    core.pipe({"duckdb-odd/a[1].csv": b"x\n1\n", "duckdb-odd/b?.csv": b"x\n2\n"})
    fs = opendalfs.duckdb("memory")
    for url in ("opendal+memory://duckdb-odd/a[1].csv", "opendal+memory://duckdb-odd/b?.csv"):
        assert fs.glob(url) == [url]
    assert fs.glob("opendal+memory://duckdb-odd/c[1].csv") == []


def test_a_glob_sees_what_others_wrote_and_the_rest_is_two_seconds_behind() -> None:
    core = opendalfs.filesystem("memory")
    path = f"duckdb-behind/{uuid4().hex}"
    url = f"opendal+memory://{path}"
    fs = opendalfs.duckdb("memory")
    core.pipe_file(path, b"1")
    assert (fs.glob(url), fs.size(url)) == ([url], 1)
    core.pipe_file(path, b"333")
    assert fs.size(url) == 1
    assert (fs.glob(url), fs.size(url)) == ([url], 3)
    core.rm_file(path)
    assert fs.isfile(url)
    assert fs.glob(url) == []
    time.sleep(2.1)
    assert not fs.isfile(url)


@pytest.mark.parametrize("options", ["", ", ENCRYPTION_CONFIG {footer_key: 'k'}"])
@pytest.mark.parametrize("rows", [0, 10_000])
def test_a_parquet_file_is_whole_only_with_its_end(tmp_path: Path, options: str, rows: int) -> None:
    con = duckdb.connect()
    con.execute("SET force_mbedtls_unsafe = 'true'")
    con.execute("PRAGMA add_parquet_key('k', '0123456789112345')")
    con.execute(f"COPY (SELECT range AS i FROM range({rows})) TO '{tmp_path}/a' (FORMAT parquet{options})")
    data = (tmp_path / "a").read_bytes()
    assert parquet_is_whole(data[:8], data[-4:], len(data)) is True
    for cut in (1, 9, len(data) - 12):
        part = data[:-cut]
        assert parquet_is_whole(part[:8], part[-4:], len(part)) is False
    assert parquet_is_whole(data[:4], data[:4], 4) is False


@pytest.mark.parametrize("text", [b"PAR1,PAR2\n1,2\n", b"PARENT_ID\n1\n", b"PARE,x,y,z\n1,2,3,4\n", b"a\n"])
def test_text_is_no_parquet_file(text: bytes) -> None:
    assert parquet_is_whole(text[:8], text[-4:], len(text)) is None


FULL = b"x" * (8 << 20) + b"\n"
WHOLE = gzip.compress(b"x\n1\n")


@pytest.mark.parametrize(
    ("name", "pieces", "whole"),
    [
        ("a.csv", [b"x", b"\n1\n"], True),
        ("a.csv", [b"x\n", b"1"], False),
        ("a.csv", [b"x\n", b"1\r"], True),
        ("a.csv", [], None),
        ("a.bin", [b"x"], None),
        ("A.JSON.GZ", [WHOLE[:10], WHOLE[10:]], True),
        ("a.json.gz", [WHOLE[:10], WHOLE[10:-8]], False),
        ("a.json.gz", [WHOLE[:10]], False),
        ("a.json.gz", [gzip.compress(b"x\n1")], False),
        ("a.json.gz", [gzip.compress(b"")], False),
        ("a.json.gz", [b"plain\n"], True),
        ("a.json.gz", [b"\x1f\x8bno gzip"], None),
        ("a.json", [FULL], False),
        ("a.json", [FULL, b"1\n"], True),
        ("a.json.gz", [WHOLE + bytes(8 << 20)], True),
        ("a.csv.zst", [b"\x28\xb5\x2f\xfd..."], False),
        ("a.bin", [b"\x28\xb5\x2f\xfd..."], None),
    ],
)
def test_text_is_whole_with_the_end_of_its_last_line(
    name: str, pieces: list[bytes], whole: bool | None
) -> None:
    end = TextEnd(name, lambda: True)
    for piece in pieces:
        end.take(piece)
    assert end.whole is whole


def test_gzip_is_read_only_where_somebody_asks() -> None:
    end = TextEnd("a.csv.gz", lambda: False)
    end.take(WHOLE[:20])
    assert end.whole is None


def test_filesystems_of_urls_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_MOST_FILESYSTEMS", 5)
    source = Source()
    first = source.locate("opendal+webdav://host-0/a")[0]
    for i in range(20):
        source.locate(f"opendal+webdav://host-{i}/a")
    assert len(source._filesystems) == 5
    assert source.locate("opendal+webdav://host-0/a")[0] == first
