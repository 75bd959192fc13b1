"""One place retries what Polars asks of a failing service, and the user reads its error."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    IncompleteReadError,
    ResponseStreamingError,
)

import opendalfs
import opendalfs_polars as op
from opendalfs.testing import Request, Response, ScriptedServer
from opendalfs_gateway import failures
from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted, status_of

RETRIES = 3
FILES = 10
REASON = "Unexpected response of the service"


@pytest.fixture
def failing() -> Iterator[ScriptedServer]:
    """Yield an S3 server that responds to every request with status 503."""
    with ScriptedServer(lambda request: Response(503)) as server:
        yield server


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep failures long enough for a busy machine to repeat the request of Polars."""
    monkeypatch.setattr(failures, "_SECONDS", 60.0)


def options_for(server: ScriptedServer) -> dict[str, Any]:
    return {
        "endpoint_url": server.endpoint,
        "key": "k",
        "secret": "s",
        "region": "us-east-1",
        "retries": RETRIES,
        "retry_min_delay": 0.001,
        "retry_max_delay": 0.002,
    }


@pytest.mark.parametrize(
    "format",
    ["parquet", *(pytest.param(name, marks=pytest.mark.services) for name in ("csv", "ndjson", "ipc"))],
)
def test_files_that_fail_are_retried_by_opendalfs_only(failing: ScriptedServer, format: str) -> None:
    scan = getattr(op, f"scan_{format}")
    urls = [f"opendal+s3://lake/{i}.{format}" for i in range(FILES)]
    with pytest.raises(OSError, match="424"):
        scan(urls, storage_options=options_for(failing), backend="gateway").collect()
    assert 1 + RETRIES <= len(failing.requests) <= FILES * (1 + RETRIES)


def test_globs_that_fail_are_retried_by_opendalfs_only(failing: ScriptedServer) -> None:
    with pytest.raises(OSError, match=REASON):
        op.scan_parquet("opendal+s3://lake/*.parquet", storage_options=options_for(failing)).collect()
    assert len(failing.requests) == 1 + RETRIES


def test_sinks_that_fail_are_retried_by_opendalfs_only(failing: ScriptedServer) -> None:
    with pytest.raises(OSError, match=REASON):
        op.sink_csv(pl.LazyFrame({"a": [1]}), "opendal+s3://lake/a.csv", storage_options=options_for(failing))
    assert len(failing.requests) == 1 + RETRIES


def test_lazy_sinks_that_fail_are_retried_by_opendalfs_only(failing: ScriptedServer) -> None:
    sink = op.sink_csv(
        pl.LazyFrame({"a": [1]}), "opendal+s3://lake/a.csv", storage_options=options_for(failing), lazy=True
    )
    with pytest.raises(OSError, match=REASON):
        sink.collect()
    assert len(failing.requests) == 1 + RETRIES


def test_retries_that_a_user_gives_polars_add_none(failing: ScriptedServer) -> None:
    target = op.target("opendal+s3://lake/a.parquet", options_for(failing), backend="gateway")
    with pytest.raises(OSError, match=REASON):
        pl.scan_parquet(target.source, storage_options={**target.storage_options, "max_retries": 5}).collect()
    assert len(failing.requests) == 1 + RETRIES


def test_the_error_that_polars_raises_holds_ours_on_its_first_line(failing: ScriptedServer) -> None:
    with pytest.raises(OSError, match=REASON) as error:
        op.read_parquet("opendal+s3://lake/a.parquet", storage_options=options_for(failing))
    first = str(error.value).partition("\n")[0]
    assert REASON in first
    assert "lake/a.parquet" in first


def test_a_failure_that_polars_cannot_show_is_logged(
    failing: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Polars begins with a HEAD for CSV, and the answer to one has no body that could say why."""
    with pytest.raises(OSError, match="Error performing HEAD"):
        op.read_csv("opendal+s3://lake/a.csv", storage_options=options_for(failing))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith(REASON)


def test_a_failure_is_replayed_to_the_same_scan_for_a_moment_only(
    failing: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failures._TIMES <= 3
    monkeypatch.setattr(failures, "_SECONDS", 0.2)
    query = op.scan_parquet("opendal+s3://lake/a.parquet", storage_options=options_for(failing))
    for _ in range(2):
        failing.requests.clear()
        with pytest.raises(OSError, match=REASON):
            query.collect()
        assert failing.requests
        time.sleep(0.25)


def test_another_scan_asks_at_once(failing: ScriptedServer) -> None:
    for _ in range(2):
        failing.requests.clear()
        with pytest.raises(OSError, match=REASON):
            op.read_parquet("opendal+s3://lake/a.parquet", storage_options=options_for(failing))
        assert len(failing.requests) == 1 + RETRIES


def test_a_read_that_fails_half_way_says_why_when_polars_repeats_it() -> None:
    content = b"x" * (24 << 20)
    half = len(content) // 2

    def fail_after_half(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(200, body=content)
        first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
        if int(first) >= half:
            return Response(503)
        return Response(206, body=content[int(first) : int(last) + 1])

    gateway = Gateway()
    with ScriptedServer(fail_after_half) as server:
        mounted = Mounted(
            gateway, "lake", fs=opendalfs.filesystem("s3", **options_for(server), concurrency=1)
        )
        with pytest.raises((ConnectionClosedError, IncompleteReadError, ResponseStreamingError)):
            mounted.get("a")
        with pytest.raises(ClientError, match=REASON) as error:
            mounted.get("a")
        assert status_of(error) == 424
        failed = [
            r
            for r in server.requests
            if "range" in r.headers and int(re.findall(r"\d+", r.headers["range"])[0]) >= half
        ]
    gateway.stop()
    assert len(failed) <= 2 * (1 + RETRIES)
