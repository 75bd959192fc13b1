"""The fewest requests for the bytes that are needed, by plain HTTP: the limit for every client."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import pyarrow.parquet as pq

from benchmarks.access import Skipped

__all__ = ["Part", "RawClient", "parquet_waves", "whole"]

PIECE = 4 << 20
AT_ONCE = 32
PARTS_AT_ONCE = 8
_OK = (http.client.OK, http.client.PARTIAL_CONTENT)


class Part(NamedTuple):
    """A range of bytes of an object."""

    path: str
    start: int
    stop: int


def pieces(part: Part, size: int = PIECE) -> list[Part]:
    """Split a part so that more than one connection carries it."""
    return [Part(part.path, at, min(at + size, part.stop)) for at in range(part.start, part.stop, size)]


def whole(local: Path, path: str) -> list[list[Part]]:
    """Plan a file whose size is known: all pieces in one wave."""
    return [pieces(Part(path, 0, local.stat().st_size))]


def parquet_waves(
    files: Iterable[tuple[Path, str]], columns: Sequence[str] | None, row_groups: Sequence[int] | None = None
) -> list[list[Part]]:
    """Plan Parquet: the footers of all files in one wave, the column chunks in the next.

    Parameters
    ----------
    files : iterable of (Path, str)
        The local file, and the path of its copy on the storage.
    columns : sequence of str or None
        Columns that are read; None for all, and an empty one for the footers only.
    row_groups : sequence of int, optional
        Row groups that are read; all by default.

    Returns
    -------
    list of list of Part
        A wave after the other.
    """
    footers, chunks = [], []
    for local, path in files:
        metadata = pq.read_metadata(local)
        size = local.stat().st_size
        footers.append(Part(path, size - metadata.serialized_size - 8, size))
        for group in range(metadata.num_row_groups) if row_groups is None else row_groups:
            chunks += _chunks(metadata.row_group(group), path, columns)
    return [footers, list(chain.from_iterable(pieces(part) for part in _joined(chunks)))]


def _chunks(group: Any, path: str, columns: Sequence[str] | None) -> list[Part]:
    found = []
    for i in range(group.num_columns):
        column = group.column(i)
        if columns is None or column.path_in_schema in columns:
            start = column.dictionary_page_offset or column.data_page_offset
            found.append(Part(path, start, start + column.total_compressed_size))
    return found


def _joined(parts: Iterable[Part]) -> list[Part]:
    joined: list[Part] = []
    for part in sorted(parts):
        if joined and joined[-1].path == part.path and joined[-1].stop == part.start:
            joined[-1] = Part(part.path, joined[-1].start, part.stop)
        else:
            joined.append(part)
    return joined


class RawClient:
    """Fetches parts with plain HTTP, over connections that stay open.

    Parameters
    ----------
    sign : callable
        Gives a URL of a path that anybody may read.
    """

    def __init__(self, sign: Callable[[str], str]) -> None:
        self._sign = sign
        self._urls: dict[str, str] = {}
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []
        self._threads = ThreadPoolExecutor(AT_ONCE, "raw")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
        for connection in self._open:
            connection.close()

    def prepare(self, waves: Iterable[Iterable[Part]]) -> None:
        """Sign what will be fetched, so that it is not measured."""
        for part in chain.from_iterable(waves):
            if part.path not in self._urls:
                try:
                    self._urls[part.path] = self._sign(part.path)
                except NotImplementedError as error:
                    raise Skipped(str(error)) from error

    def fetch(self, waves: Iterable[Iterable[Part]]) -> list[bytearray]:
        """Fetch each wave's parts at the same time, one wave after the other.

        Parameters
        ----------
        waves : iterable of iterable of Part
            What to fetch; `prepare` must have seen it.

        Returns
        -------
        list of bytearray
            Of the last wave.
        """
        found: list[bytearray] = []
        for wave in waves:
            found = list(self._threads.map(self._fetch, wave))
        return found

    def send(self, local: Path, urls: Sequence[str]) -> list[str]:
        """Send a file in parts of one size, some at a time.

        Parameters
        ----------
        local : Path
            The file.
        urls : sequence of str
            A signed URL for each part.

        Returns
        -------
        list of str
            ETags of the parts.
        """
        data = local.read_bytes()
        size = -(-len(data) // len(urls))

        def put(number: int, url: str) -> str:
            with memoryview(data)[number * size : (number + 1) * size] as part:
                answer = self._answer("PUT", url, body=part)
            answer.read()
            return answer.headers["ETag"]

        # With more at a time the server takes longer for all of them.
        with ThreadPoolExecutor(PARTS_AT_ONCE) as threads:
            return list(threads.map(put, range(len(urls)), urls))

    def _answer(self, method: str, signed: str, **request: Any) -> http.client.HTTPResponse:
        url = urlsplit(signed)
        connection = self._connection(url.scheme, url.netloc)
        connection.request(method, f"{url.path}?{url.query}", **request)
        answer = connection.getresponse()
        if answer.status not in _OK:
            raise RuntimeError(f"HTTP status {answer.status} for {url.path}")
        return answer

    def _fetch(self, part: Part) -> bytearray:
        span = f"bytes={part.start}-{part.stop - 1}"
        answer = self._answer("GET", self._urls[part.path], headers={"Range": span})
        buffer = bytearray(part.stop - part.start)
        with memoryview(buffer) as view:
            done = 0
            while count := answer.readinto(view[done:]):
                done += count
        answer.read()
        return buffer

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        held: dict[str, http.client.HTTPConnection] = self._local.__dict__
        if netloc not in held:
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            held[netloc] = kind(netloc, timeout=60)
            self._open.append(held[netloc])
        return held[netloc]
