"""Is the server as far away as it was set? Measured from outside, by a plain HTTP client."""

from __future__ import annotations

import http.client
import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchmarks.context import Context

ASKED = 9
BUFFER = 1 << 20


@dataclass(frozen=True)
class Distance:
    """What a client sees of the server.

    ``latency`` is the median in seconds to the first byte of a small answer; ``bandwidth`` is in
    bytes a second, of the largest file on one connection.
    """

    latency: float
    bandwidth: float

    def __str__(self) -> str:
        return f"{self.latency * 1e3:.1f} ms, {self.bandwidth / 1e6:.1f} MB/s a connection"


def calibrate(context: Context) -> Distance:
    """Measure latency and bandwidth through the proxy.

    Parameters
    ----------
    context : Context
        What runs.

    Returns
    -------
    Distance
        What was measured.
    """
    client = context.server.client_at(context.proxy.endpoint)
    bucket, _, key = context.remote["lineitem"].partition("/")
    signed = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})
    parts = urlsplit(signed)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=60)) as connection:
        path = f"{parts.path}?{parts.query}"
        latencies = [_first_byte(connection, path) for _ in range(ASKED)]
        return Distance(statistics.median(latencies), _bandwidth(connection, path))


def _answer(connection: http.client.HTTPConnection, path: str, **fields: str) -> Any:
    connection.request("GET", path, headers=fields)
    answer = connection.getresponse()
    if answer.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
        raise RuntimeError(f"calibration got HTTP status {answer.status}")
    return answer


def _first_byte(connection: http.client.HTTPConnection, path: str) -> float:
    start = time.perf_counter()
    answer = _answer(connection, path, Range="bytes=0-0")
    seconds = time.perf_counter() - start
    answer.read()
    return seconds


def _bandwidth(connection: http.client.HTTPConnection, path: str) -> float:
    answer = _answer(connection, path)
    buffer = bytearray(BUFFER)
    size, start = 0, time.perf_counter()
    while received := answer.readinto(buffer):
        size += received
    return size / (time.perf_counter() - start)
