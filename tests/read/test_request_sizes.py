"""Which sizes requests have, by the options and by what the server has shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import opendalfs
from opendalfs.options import Tuning
from opendalfs.read.plan import RequestSizes, is_near
from opendalfs.storage.latency import Latency
from opendalfs.testing import DelayProxy, S3Server

MiB = 1 << 20


def connection(*seconds: float, **options: Any) -> Any:
    """Return what the sizes depend on: the options, and an endpoint whose small requests took so long."""
    latency = Latency()
    for each in seconds:
        latency.record(1_000, each)
    return SimpleNamespace(tuning=Tuning(**options), endpoint=SimpleNamespace(latency=latency))


@given(
    seconds=st.lists(st.floats(0, 10), max_size=100),
    part=st.integers(1, 1 << 40),
    gap=st.integers(0, 1 << 40),
)
def test_sizes_follow_the_options_whatever_the_server_has_shown(
    seconds: list[float], part: int, gap: int
) -> None:
    place = connection(*seconds, read_chunk=part, max_gap=gap)
    assert RequestSizes.of(place) == (gap, part)
    scan = RequestSizes.of_scan(place)
    assert scan.gap == gap
    assert scan.part in {max(part // 2, 1), part}
    assert (scan.part == part) is (is_near(place) or part == 1)


@pytest.mark.parametrize(
    ("seconds", "near"),
    [
        ((), False),
        ((0.001,), True),
        ((0.03,) * 64, False),
        ((0.0056,) * 64, False),
        # Most of them waited for this busy machine.
        ((0.002,) * 8 + (0.03,) * 56, True),
        # It was near, and has not been for the last 64 requests.
        ((0.001,) * 9 + (0.03,) * 64, False),
    ],
)
def test_a_server_is_near_when_its_fastest_responses_are(seconds: tuple[float, ...], near: bool) -> None:
    assert is_near(connection(*seconds)) is near
    assert RequestSizes.of_scan(connection(*seconds)).part == (8 * MiB if near else 4 * MiB)


def test_local_storage_has_parts_of_half_the_size() -> None:
    fs = opendalfs.filesystem("memory")
    assert RequestSizes.of_scan(fs.locate("doc/x")[0]).part == 4 * MiB


def test_a_distant_server_never_seems_near(s3_server: S3Server, prefix: str) -> None:
    if not s3_server.endpoint.startswith("http://"):
        pytest.skip("the proxy speaks plain http only")
    with DelayProxy(s3_server.endpoint, latency=0.02) as proxy:
        fs = opendalfs.filesystem("s3", **proxy.through(s3_server.options), skip_instance_cache=True)
        fs.pipe_file(f"{prefix}/a", b"x" * 100)
        for _ in range(20):
            fs.cat_file(f"{prefix}/a")
        assert not is_near(fs.locate(prefix)[0])
