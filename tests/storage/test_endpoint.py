"""The endpoint of a connection hears of every attempt, and all filesystems of the process share it."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import pytest

import opendalfs
from opendalfs.runtime.tasks import run
from opendalfs.services import lookup
from opendalfs.storage.endpoint import Endpoint, endpoint_of
from opendalfs.testing import Request, Response, ScriptedServer, object_headers


def test_filesystems_of_one_server_share_an_endpoint_and_others_do_not() -> None:
    def endpoint(**options: Any) -> Endpoint | None:
        fs = opendalfs.filesystem("s3", key="k", secret="s", region="eu-central-1", **options)
        return fs.locate("b/k")[0].endpoint

    here = endpoint(endpoint_url="http://127.0.0.1:1")
    assert here is not None
    assert here is endpoint(endpoint_url="http://127.0.0.1:1/", retries=1)
    assert here is not endpoint(endpoint_url="http://127.0.0.1:2")
    assert opendalfs.filesystem("memory").locate("a")[0].endpoint is None


def test_an_endpoint_does_not_contain_credentials() -> None:
    found = endpoint_of(lookup("webdav"), {"endpoint": "http://user:secret@host/", "password": "secret"})
    assert "secret" not in repr(found)


def respond(request: Request) -> Response | None:
    if "missing" in request.target:
        return Response(404)
    if "busy" in request.target:
        return Response(503)
    if request.method == "HEAD":
        return Response(200, object_headers(3))
    return Response(200, object_headers(3), b"abc") if request.method == "GET" else Response(200)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    found: list[tuple[str, int, str]] = []

    def record(
        self: Endpoint, operation: str, size: int, seconds: float, outcome: str, whole: bool = False
    ) -> None:
        assert 0 < seconds < 60
        found.append((operation, size, outcome))

    monkeypatch.setattr(Endpoint, "record", record)
    return found


def test_every_attempt_is_recorded(records: list[tuple[str, int, str]]) -> None:
    with ScriptedServer(respond) as server:
        options = {"key": "k", "secret": "s", "retries": 0}
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, endpoint_url=server.endpoint, **options)
        connection = fs.locate("b/k")[0]
        assert connection.stat_blocking("k").content_length == 3
        assert run(connection.read, "k", 0, None) == b"abc"
        run(connection.write, "k", b"12345")
        with pytest.raises(FileNotFoundError):
            run(connection.stat, "missing")
        with pytest.raises(OSError, match=r"Unexpected response|Too many requests"):
            connection.stat_blocking("busy")
    assert records == [
        ("stat", 0, "ok"),
        ("read", 3, "ok"),
        ("write", 5, "ok"),
        ("stat", 0, "error"),
        ("stat", 0, "throttled"),
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_begins_with_new_endpoints() -> None:
    native = {"endpoint": "http://127.0.0.1:1"}
    here = endpoint_of(lookup("s3"), native)
    assert here is not None
    here.record("read", 0, 0.1, "ok")
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        found = endpoint_of(lookup("s3"), native)
        sender.send(found is not None and found.answered)

    process = context.Process(target=child)
    process.start()
    process.join(60)
    assert here.answered
    assert receiver.recv() is False
