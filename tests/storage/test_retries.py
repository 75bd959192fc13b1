"""What is retried, how often and for how long, and what is not."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs import OpendalFileSystem
from opendalfs.options import Tuning
from opendalfs.runtime.tasks import run
from opendalfs.storage.endpoint import Endpoint
from opendalfs.storage.retry import Retries
from opendalfs.testing import Request, Response, ScriptedServer, object_headers

SIZE = 1000
BODY = random.Random(1).randbytes(SIZE)
QUICK = {"retry_min_delay": 0.001, "retry_max_delay": 0.002}


@pytest.mark.parametrize("name", ["fs", "operator-fs"])
def test_local_errors_come_at_once(name: str, tmp_path: Path) -> None:
    """OpenDAL's RetryLayer would repeat these calls for half a minute."""
    fs: OpendalFileSystem
    if name == "fs":
        fs, root = opendalfs.filesystem("fs"), str(tmp_path)
    else:
        fs, root = OpendalFileSystem("fs", root=str(tmp_path)), "data"
    fs.pipe({f"{root}/dir/{i}/{j}": b"" for i in range(8) for j in range(8)})
    with opendalfs.trace() as trace:
        with pytest.raises(IsADirectoryError):
            fs.cat_file(f"{root}/dir")
        with pytest.raises(IsADirectoryError):
            fs.rm(f"{root}/dir")
        fs.rm(f"{root}/dir", recursive=True)
    assert not fs.exists(f"{root}/dir")
    # With retries, each would take 31 s.
    assert max(record.end - record.start for record in trace.records) < 10


def filesystem(server: ScriptedServer, **options: Any) -> Any:
    given = {"endpoint_url": server.endpoint, "key": "k", "secret": "s", **QUICK, **options}
    return opendalfs.S3FileSystem(skip_instance_cache=True, **given)


def error(status: int, code: str, **headers: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def found(request: Request) -> Response:
    if request.method == "HEAD":
        return Response(200, object_headers(SIZE))
    if request.method == "GET":
        first, size = request.range(SIZE)
        if "range" not in request.headers:
            return Response(200, object_headers(SIZE), BODY)
        told = {**object_headers(size), "Content-Range": f"bytes {first}-{first + size - 1}/{SIZE}"}
        return Response(206, told, BODY[first : first + size])
    if request.headers.get("x-amz-copy-source"):
        return Response(200, {}, b'<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>')
    return Response(204 if request.method == "DELETE" else 200, {"ETag": '"e"'})


class Failing:
    """Answers the first requests of each method with a fault, and later ones as a server with one object."""

    def __init__(self, fault: Callable[[Request], Response | None], times: int) -> None:
        self.fault = fault
        self.times = times
        self.counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response | None:
        with self._lock:
            count = self.counts[request.method] = self.counts.get(request.method, 0) + 1
        return self.fault(request) if count <= self.times else found(request)


TEMPORARY: dict[str, Callable[[Request], Response | None]] = {
    "SlowDown": lambda _: error(503, "SlowDown"),
    "503 without a body": lambda _: Response(503),
    "429": lambda _: Response(429),
    "InternalError": lambda _: error(500, "InternalError"),
    "502": lambda _: Response(502),
    "a lost connection": lambda _: None,
}

CALLS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "stat": ("HEAD", lambda c: run(c.stat, "k")),
    "stat_blocking": ("HEAD", lambda c: c.stat_blocking("k")),
    "read": ("GET", lambda c: run(c.read, "k", 0, None)),
    "read of a range": ("GET", lambda c: run(c.read, "k", 10, 20)),
    "read_blocking": ("GET", lambda c: c.read_blocking("k", 10, 20)),
    "write": ("PUT", lambda c: run(c.write, "k", BODY)),
    "delete": ("DELETE", lambda c: run(c.delete, "k")),
    "copy": ("PUT", lambda c: run(c.copy, "k", "l")),
}


@pytest.mark.parametrize("fault", TEMPORARY.values(), ids=TEMPORARY)
@pytest.mark.parametrize("name", CALLS)
def test_a_temporary_failure_is_retried_once_for_each_response(
    name: str, fault: Callable[[Request], Response | None]
) -> None:
    method, call = CALLS[name]
    respond = Failing(fault, times=3)
    with ScriptedServer(respond) as server, opendalfs.trace() as trace:
        result = call(filesystem(server).locate("b/k")[0])
        assert server.count(method) == 4
    if name.startswith("read"):
        assert result == (BODY if name == "read" else BODY[10:30])
    (record,) = trace.records
    assert len(record.retried) == (6 if name == "copy" else 3)
    assert record.requests == len(record.retried) + 1


def test_a_range_read_in_the_callers_thread_is_retried() -> None:
    """The first range of a connection is read as a stream, later ones are not."""
    respond = Failing(TEMPORARY["SlowDown"], times=0)
    with ScriptedServer(respond) as server:
        connection = filesystem(server).locate("b/k")[0]
        connection.read_blocking("k", 0, 10)
        respond.times = 3
        assert connection.read_blocking("k", 10, 20) == BODY[10:30]
        assert server.count("GET") == 4


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (404, "NoSuchKey"), (400, "InvalidRequest")]
)
def test_a_permanent_failure_is_not_retried(name: str, status: int, code: str) -> None:
    if (name, status) == ("delete", 404):
        pytest.skip("a missing object is deleted")
    with ScriptedServer(lambda _: error(status, code)) as server:
        connection = filesystem(server).locate("b/k")[0]
        with pytest.raises(OSError, match=r"."):
            CALLS[name][1](connection)
        assert len(server.requests) == 1


@pytest.mark.parametrize("name", CALLS)
def test_retries_bounds_the_attempts(name: str) -> None:
    for retries in (0, 2):
        with ScriptedServer(lambda _: Response(500)) as server:
            connection = filesystem(server, retries=retries).locate("b/k")[0]
            with pytest.raises(OSError, match="Unexpected response"):
                CALLS[name][1](connection)
            assert len(server.requests) == retries + 1


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_never_succeeds_sends_a_bounded_number_of_requests(name: str) -> None:
    with ScriptedServer(lambda _: Response(500)) as server:
        connection = filesystem(server).locate("b/k")[0]
        with pytest.raises(OSError, match="Unexpected response"):
            CALLS[name][1](connection)
        assert len(server.requests) == 51


def delays(tuning: Tuning, text: str, outcome: Any = "error", seconds: float = 0.0) -> list[float]:
    endpoint = Endpoint("s3", "there")
    endpoint.counts["ok"] = 1
    retries = Retries(tuning, endpoint)
    found = []
    while (delay := retries.delay(OSError(text), outcome, seconds)) is not None:
        found.append(delay)
    return found


def test_delays_have_full_jitter_and_end_with_the_patience() -> None:
    text = "Unexpected (temporary) at read"
    late: list[float] = []
    for seed in range(50):
        random.seed(seed)
        found = delays(Tuning(), text)
        assert sum(found) == pytest.approx(30)
        for i, delay in enumerate(found):
            assert 0 <= delay <= min(5, 0.05 * 2**i)
        late += found[8:-1]
    assert min(late) < 0.5
    assert max(late) > 4.5
    # Attempts take patience too.
    assert len(delays(Tuning(retry_timeout=3), text, seconds=1.0)) <= 4
    assert delays(Tuning(retry_timeout=0), text) == []
    assert delays(Tuning(), "Unexpected (permanent) at read") == []


def test_a_server_says_when_to_come_again() -> None:
    text = 'RateLimited (temporary) at read\n response: Parts { status: 503, headers: {"retry-after": "%s"} }'
    assert delays(Tuning(), text % 7, "throttled") == pytest.approx([7, 7, 7, 7, 2])
    assert delays(Tuning(), text % 3600, "throttled") == [30]


def test_a_call_waits_as_long_as_the_server_says() -> None:
    respond = Failing(lambda _: error(503, "SlowDown", Retry_After="1"), times=1)
    with ScriptedServer(respond) as server, opendalfs.trace() as trace:
        assert filesystem(server).cat_file("b/k") == BODY
    assert trace.records[0].waited >= 1


def test_a_server_that_has_never_answered_is_given_up_soon() -> None:
    begun = time.monotonic()
    fs = opendalfs.S3FileSystem(
        endpoint_url="http://127.0.0.1:2", key="k", secret="s", skip_instance_cache=True
    )
    with pytest.raises(ConnectionError, match="Cannot reach the server"):
        fs.cat_file("b/k")
    # 2 s of patience, instead of 30.
    assert time.monotonic() - begun < 20


def test_the_timeout_bounds_the_retries() -> None:
    with ScriptedServer(lambda _: Response(500)) as server:
        fs = filesystem(server, timeout=1, io_timeout=1, retry_min_delay=0.3, retry_max_delay=5)
        begun = time.monotonic()
        with pytest.raises(OSError, match="Unexpected response"):
            fs.locate("b/k")[0].stat_blocking("k")
        assert time.monotonic() - begun < 15


def test_a_stalled_attempt_is_retried() -> None:
    respond = Failing(lambda request: request.stall(), times=1)
    with ScriptedServer(respond) as server, opendalfs.trace() as trace:
        assert filesystem(server, io_timeout=3).locate("b/k")[0].read_blocking("k", 0, 10) == BODY[:10]
    assert trace.records[0].retried == ("timeout",)


def cut(request: Request) -> Response:
    """Send a half of the body, and close the connection."""
    whole = found(request)
    assert isinstance(whole.body, bytes)
    headers = {**whole.headers, "Connection": "close"}
    return Response(whole.status, headers, broken(whole.body[: len(whole.body) // 2]))


def broken(piece: bytes) -> Any:
    yield piece
    raise OSError("closed")


@pytest.mark.parametrize("name", ["read", "read of a range", "read_blocking"])
def test_a_body_that_breaks_off_is_read_again(name: str) -> None:
    respond = Failing(cut, times=2)
    with ScriptedServer(respond) as server:
        result = CALLS[name][1](filesystem(server).locate("b/k")[0])
        assert result == (BODY if name == "read" else BODY[10:30])
        assert server.count("GET") == 3


# Responses that are lost


class Applied:
    """Stores a write and loses its response; later writes with a condition meet what is there."""

    def __init__(self, content: bytes | None = None) -> None:
        self.content = content
        self.writes = 0

    def __call__(self, request: Request) -> Response | None:
        if request.method == "PUT":
            self.writes += 1
            if self.writes == 1:
                if self.content is None:
                    self.content = request.body
                return None
            return error(412, "PreconditionFailed")
        assert self.content is not None
        headers = object_headers(len(self.content))
        return Response(200, headers, self.content if request.method == "GET" else b"")


def test_a_conditional_write_whose_response_was_lost_does_not_report_its_own_object() -> None:
    with ScriptedServer(Applied()) as server:
        connection = filesystem(server).locate("b/k")[0]
        with pytest.raises(OSError, match="may have succeeded: check what is there") as caught:
            run(connection.write, "k", b"mine", if_not_exists=True)
        assert not isinstance(caught.value, FileExistsError)
        assert server.count("PUT") == 2


def test_a_conditional_write_after_a_lost_response_reports_another_object() -> None:
    for other in (b"their", b"longer than mine"):
        with ScriptedServer(Applied(other)) as server:
            connection = filesystem(server).locate("b/k")[0]
            with pytest.raises(FileExistsError):
                run(connection.write, "k", b"mine!", if_not_exists=True)


def test_a_conditional_write_that_was_only_refused_reports_an_object_at_once() -> None:
    respond = Failing(TEMPORARY["SlowDown"], times=1)

    def answer(request: Request) -> Response | None:
        made = respond(request)
        return made if made is None or made.status == 503 else error(412, "PreconditionFailed")

    with ScriptedServer(answer) as server:
        with pytest.raises(FileExistsError):
            run(filesystem(server).locate("b/k")[0].write, "k", b"mine", if_not_exists=True)
        assert len(server.requests) == 2


def test_a_rename_whose_response_was_lost_does_not_report_a_missing_source() -> None:
    moves = 0

    def answer(request: Request) -> Response | None:
        nonlocal moves
        if request.method == "MOVE":
            moves += 1
            return None if moves == 1 else Response(404)
        return Response(207 if request.method == "PROPFIND" else 201, {}, MULTISTATUS)

    with ScriptedServer(answer) as server:
        fs = opendalfs.WebdavFileSystem(endpoint=server.endpoint, skip_instance_cache=True, **QUICK)
        connection = fs.locate("source")[0]
        with pytest.raises(OSError, match="response to a rename was lost") as caught:
            run(connection.rename, "source", "target")
        assert not isinstance(caught.value, FileNotFoundError)
        assert moves == 2


def test_an_upload_whose_last_response_was_lost_does_not_report_a_missing_file() -> None:
    completions = 0

    def answer(request: Request) -> Response | None:
        nonlocal completions
        if request.method == "PUT":
            return Response(200, {"ETag": '"e"'})
        if "uploads" in request.target:
            upload = b"<UploadId>u</UploadId>"
            return Response(
                200, {}, b"<InitiateMultipartUploadResult>" + upload + b"</InitiateMultipartUploadResult>"
            )
        completions += 1
        return None if completions == 1 else error(404, "NoSuchUpload")

    with ScriptedServer(answer) as server:
        fs = filesystem(server, write_chunk=5 << 20)
        with pytest.raises(OSError, match="response to a write was lost") as caught:
            fs.pipe_file("b/k", bytes(11 << 20))
        assert not isinstance(caught.value, FileNotFoundError)
        assert completions == 2


MULTISTATUS = b"""<?xml version="1.0"?>
<D:multistatus xmlns:D="DAV:"><D:response><D:href>/</D:href><D:propstat>
<D:prop><D:getlastmodified>Wed, 25 Nov 2026 00:00:00 GMT</D:getlastmodified><D:resourcetype><D:collection/>
</D:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"""


def test_what_has_a_state_in_opendal_is_retried_too() -> None:
    """Listings, uploads and recursive removals: OpenDAL retries those, and nothing else does."""
    with ScriptedServer(lambda _: Response(500)) as server:
        fs = filesystem(server, retries=2)
        with pytest.raises(OSError, match="Unexpected response"):
            run(fs.locate("b/k")[0].page, "d/")
        assert server.count("GET") == 3
