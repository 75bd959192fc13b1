"""What recent durations of requests show: quantiles by size, the latency and the bandwidth of an endpoint."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from opendalfs.storage.endpoint import Endpoint
from opendalfs.storage.latency import Latency, Recent, size_class


def test_a_size_class_reaches_to_four_times_the_one_before() -> None:
    bounds = [4096 * 4**i for i in range(10)]
    assert [size_class(bound) for bound in bounds] == list(range(10))
    assert [size_class(bound + 1) for bound in bounds] == list(range(1, 11))
    assert size_class(0) == 0
    assert size_class(1 << 60) == 10


def test_old_values_are_dropped() -> None:
    recent = Recent(10)
    for value in range(25):
        recent.add(value)
    assert recent.count == 10
    assert recent.quantile(0) == 15


def test_quantiles_follow_a_change_within_16_values() -> None:
    recent = Recent(20)
    for _ in range(100):
        recent.add(1.0)
    assert recent.quantile(0.5) == 1.0
    for _ in range(32):
        recent.add(9.0)
    assert recent.quantile(0.1) == 9.0


@pytest.mark.parametrize("first_byte", [0.001, 0.015, 0.1])
@pytest.mark.parametrize("bandwidth", [5e6, 90e6, 1e9])
def test_latency_and_bandwidth_are_found_among_late_requests(first_byte: float, bandwidth: float) -> None:
    chance = random.Random(3)
    latency = Latency()
    for i in range(400):
        size = chance.choice((0, 1000, 40_000, 1_000_000, 8_000_000))
        late = 20 if i % 50 == 49 else chance.uniform(1, 1.2)
        latency.record(size, (first_byte + size / bandwidth) * late)
    assert latency.first_byte == pytest.approx(first_byte, rel=0.5)
    assert latency.bandwidth is not None
    # The wait for the first byte varies by 0.2 of it, which may hide a transfer of 1 MB.
    shown = min(bandwidth, 1e6 / (0.2 * first_byte))
    assert shown / 4 < latency.bandwidth < bandwidth * 1.5


def test_nothing_is_known_before_the_first_requests() -> None:
    latency = Latency()
    assert (latency.first_byte, latency.bandwidth, latency.quantile(0, 0.5, least=1)) == (None, None, None)


def test_a_size_that_is_little_known_borrows_from_a_larger_one() -> None:
    latency = Latency()
    latency.record(100, 0.001)
    for _ in range(20):
        latency.record(1 << 20, 0.030)
    assert latency.quantile(100, 0.9, least=16) == 0.030
    assert latency.quantile(4 << 20, 0.9, least=16) is None


def test_whole_objects_of_unknown_size_are_compared_with_each_other() -> None:
    latency = Latency()
    for _ in range(20):
        latency.record(1000, 0.001)
        latency.record(1 << 20, 0.030, whole=True)
    assert latency.quantile(None, 0.9, least=16) == 0.030
    assert latency.quantile(1000, 0.9, least=16) == 0.001


def test_records_of_many_threads_are_kept() -> None:
    latency = Latency()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: latency.record(1 << 20, 1 + i / 1e6), range(5000)))
    found = latency.quantile(1 << 20, 0.5, least=100)
    assert found is not None
    assert 1 <= found < 1.006


def test_an_endpoint_learns_from_reads_and_stats_that_succeed() -> None:
    endpoint = Endpoint("s3", "http://127.0.0.1:1")
    for _ in range(20):
        endpoint.record("stat", 0, 0.010, "ok")
        endpoint.record("read", 1 << 20, 0.020, "ok")
        endpoint.record("read", 0, 0.001, "error")
        endpoint.record("write", 1 << 20, 0.900, "ok")
        endpoint.record("read", 0, 0.001, "timeout")
    assert endpoint.latency.first_byte == 0.010
    assert endpoint.latency.quantile(1 << 20, 0.9, least=16) == 0.020
