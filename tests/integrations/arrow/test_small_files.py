"""Small Parquet files, which are read whole: pyarrow then reads memory, without calls of Python."""

from __future__ import annotations

import uuid
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs_arrow.footer import Footer
from tests.integrations.arrow.places import numbers
from tests.waiting import eventually

FILES = 40


@pytest.fixture(scope="module")
def fs() -> Any:
    """Return a filesystem in memory."""
    return opendalfs.arrow("memory")


@pytest.fixture(scope="module")
def folder(fs: Any) -> str:
    """Write small files, and return their directory."""
    folder = uuid.uuid4().hex
    for i in range(FILES):
        pq.write_table(numbers(100, 4).slice(i), f"{folder}/{i:02}.parquet", filesystem=fs)
    return folder


def test_a_file_that_is_in_memory_is_opened_as_memory(fs: Any, folder: str) -> None:
    handler, path = fs.handler, f"{folder}/00.parquet"
    fs.get_file_info([path])
    handler.prefetch_tails([path])
    tail = handler.cache.tails.get(handler.paths.normalize(path), handler.reader(path))
    assert eventually(lambda: tail.whole is not None)
    with opendalfs.trace() as trace:
        file = handler.open_input_file(path)
    assert isinstance(file, pa.BufferReader)
    assert trace.bytes_wanted == file.size()
    assert pq.read_table(file).num_rows == 100


def test_footers_of_small_files_are_not_parsed_twice(
    fs: Any, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(Footer, "parse", parsed.append)
    found = pq.read_table(folder, columns=["c1"], filesystem=fs)
    assert found.num_rows == sum(100 - i for i in range(FILES))
    assert parsed == []
