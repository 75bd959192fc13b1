"""Ranges are slices, read by bounded requests; the parts of an upload hold each byte once."""

from __future__ import annotations

import random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import opendalfs
from opendalfs import S3FileSystem
from opendalfs.write.parts import PartBuffer, part_ranges, part_size
from tests.effort import effort

SIZE, CHUNK, GAP = 300, 40, 7
DATA = random.Random(3).randbytes(SIZE)
FS = opendalfs.filesystem("memory", read_chunk=CHUNK, max_gap=GAP, skip_instance_cache=True)
MiB = 1 << 20

ends = st.none() | st.integers(-SIZE - 50, SIZE + 50)
slices = st.lists(st.tuples(ends, ends), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def path() -> str:
    name = f"ranges/{uuid4().hex}"
    FS.pipe_file(name, DATA)
    return name


@effort(60)
@given(slices, st.none() | st.integers(0, 40))
def test_cat_ranges_are_slices_and_no_request_exceeds_the_chunk_or_the_gaps(
    path: str, wanted: list[tuple[Any, Any]], gap: int | None
) -> None:
    starts, stops = map(list, zip(*wanted, strict=True))
    with opendalfs.trace() as trace:
        found = FS.cat_ranges([path] * len(wanted), starts, stops, max_gap=gap, on_error="raise")
    assert found == [DATA[a:b] for a, b in wanted]
    reads = [record for record in trace.records if record.operation == "read"]
    needed = {i for a, b in wanted for i in range(*slice(a, b).indices(SIZE))}
    assert all(record.bytes <= CHUNK for record in reads)
    assert sum(record.bytes for record in reads) <= len(needed) + (GAP if gap is None else gap) * len(wanted)


@effort(60)
@given(
    st.lists(st.tuples(st.integers(-2 * SIZE, 2 * SIZE), st.integers(0, 2), st.integers(-1, 90)), max_size=12)
)
def test_seeks_and_reads_are_those_of_a_local_file(path: str, steps: list[tuple[int, int, int]]) -> None:
    import io

    local = io.BytesIO(DATA)
    with FS.open(path, "rb", block_size=16) as file:
        for offset, whence, count in steps:
            if [0, local.tell(), SIZE][whence] + offset < 0:
                continue
            assert file.seek(offset, whence) == local.seek(offset, whence)
            assert file.read(count) == local.read(count)
            assert file.tell() == local.tell()


@pytest.fixture(scope="module")
def s3() -> S3FileSystem:
    return S3FileSystem(region="x", anon=True, write_chunk=8 * MiB, skip_instance_cache=True)


@effort(100)
@given(st.integers(0, 5 << 40), st.none() | st.integers(1, 1 << 30))
def test_parts_of_an_object_are_within_the_limits_of_s3(
    s3: S3FileSystem, size: int, chunk: int | None
) -> None:
    connection = s3.locate("lake/key")[0]
    part = part_size(connection, size, chunk=chunk)
    assert -(-size // part) <= 10_000
    assert 5 * MiB <= part <= 5 << 30
    first = [r for r, _ in zip(part_ranges(size, part), range(3), strict=False)]
    assert [r.start for r in first] == list(range(0, size, part))[:3]


def test_a_stream_of_the_largest_object_stays_within_ten_thousand_parts(s3: S3FileSystem) -> None:
    connection = s3.locate("lake/key")[0]
    assert sum(part_size(connection, number=number) for number in range(10_000)) >= 500 << 30


@effort(60)
@given(st.lists(st.integers(0, 90), max_size=12), st.integers(1, 50), st.none() | st.integers(0, 400))
def test_a_buffer_returns_each_byte_once_in_parts_of_one_size(
    pieces: list[int], chunk: int, known: int | None
) -> None:
    total = sum(pieces)
    data = random.Random(total).randbytes(total)
    buffer = PartBuffer(FS.locate("a")[0], total if known is not None else None, chunk, multipart=True)
    parts: list[bytes] = []
    at = 0
    for size in pieces:
        parts += buffer.add(data[at : at + size])
        at += size
    rest = buffer.take()
    assert b"".join([*parts, rest]) == data
    assert len({len(part) for part in parts}) <= 1
    assert not parts or len(rest) <= len(parts[0])
