"""`doctor`: each thing that is wrong on the way to a URL has a sentence, and the option that mends it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.fs.content import ContentFileSystem
from opendalfs.testing import Request, Response, S3Server, ScriptedServer
from opendalfs_cli.doctor.storage import Probe
from opendalfs_cli.locations import open_location
from tests.https_server import https_server

from .conftest import Run

STEPS = [
    "options",
    "credentials",
    "DNS",
    "TCP",
    "TLS",
    "reach",
    "clock",
    "list",
    "ranged read",
    "conditional write",
    "speed",
]
KEYS = ["-o", "key=minioadmin", "-o", "secret=minioadmin", "-o", "region=us-east-1"]

Found = dict[str, dict[str, str]]


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an environment without credentials and without a server."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def examine(run: Run, *arguments: str, code: int = 1) -> Found:
    """Return what each step of `doctor` finds."""
    result = run("doctor", "--json", *arguments)
    assert result.exit_code == code, result.output
    found = json.loads(result.stdout)
    assert [one["step"] for one in found] == STEPS
    return {one["step"]: one for one in found}


def failures(found: Found) -> dict[str, str]:
    return {step: one["sentence"] for step, one in found.items() if one["status"] == "failed"}


@pytest.fixture
def url(s3_server: S3Server, prefix: str) -> str:
    opendalfs.filesystem("s3", **s3_server.options).pipe_file(f"{prefix}/a.bin", bytes(2_000_000))
    return f"s3://{prefix}"


@pytest.fixture
def endpoint(s3_server: S3Server) -> list[str]:
    return ["-o", f"endpoint={s3_server.endpoint}"]


def test_what_works_is_said_step_by_step(run: Run, url: str, endpoint: list[str]) -> None:
    result = run("doctor", url, *endpoint, *KEYS)
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    statuses = {rest.partition("  ")[0]: status for status, rest in lines}
    assert statuses == {step: "skipped" if step in ("TLS", "conditional write") else "ok" for step in STEPS}
    assert "minioadmin" not in result.output
    assert "latency" in result.stdout
    assert "MB/s" in result.stdout or "GB/s" in result.stdout


@pytest.mark.parametrize("path", ["", "/a.bin"])
def test_a_conditional_write_needs_consent_and_leaves_nothing(
    path: str, run: Run, url: str, endpoint: list[str], s3_server: S3Server
) -> None:
    with opendalfs.trace() as trace:
        examine(run, url + path, *endpoint, *KEYS, code=0)
    assert not trace.count("write", "delete")
    found = examine(run, url + path, *endpoint, *KEYS, "--write", code=0)
    assert "a second creation was refused" in found["conditional write"]["sentence"]
    assert opendalfs.filesystem("s3", **s3_server.options).find(url) == [f"{url[5:]}/a.bin"]


def test_a_wrong_key(run: Run, url: str, endpoint: list[str]) -> None:
    found = examine(run, url, *endpoint, "-o", "key=wrong", "-o", "secret=minioadmin")
    assert failures(found)["list"] == "the server does not know the access key id"
    assert "-o key=" in found["list"]["advice"]


def test_a_wrong_secret(run: Run, url: str, endpoint: list[str]) -> None:
    result = run("doctor", url, *endpoint, "-o", "key=minioadmin", "-o", "secret=T0PSECRET")
    assert "T0PSECRET" not in result.output
    assert "the secret key does not belong to the access key id" in result.stdout
    assert "-o secret=..." in result.stdout


def test_a_missing_bucket(run: Run, s3_server: S3Server, endpoint: list[str]) -> None:
    found = examine(run, "s3://no-such-bucket/lake", *endpoint, *KEYS)
    assert failures(found) == {"list": f"there is no bucket 'no-such-bucket' on {s3_server.endpoint}"}
    assert "correct the bucket in the URL" in found["list"]["advice"]


def test_a_missing_path(run: Run, url: str, endpoint: list[str]) -> None:
    found = examine(run, f"{url}/missing", *endpoint, *KEYS)
    assert failures(found) == {"list": "nothing exists at the path"}


def test_no_credentials(run: Run, url: str, endpoint: list[str]) -> None:
    found = examine(run, url, *endpoint)
    assert failures(found)["credentials"] == "no credentials in options, environment and files"
    assert found["credentials"]["advice"] == "pass key and secret, profile, or anon=True, each with -o"
    assert "no credentials were found" in failures(found)["list"]


def test_credentials_of_the_environment_are_named(
    run: Run, url: str, endpoint: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "minioadmin")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "minioadmin")
    found = examine(run, url, *endpoint, code=0)
    assert found["credentials"]["sentence"] == "from AWS_ACCESS_KEY_ID (set)"


def test_https_where_the_server_speaks_http(run: Run, url: str, s3_server: S3Server) -> None:
    wrong = s3_server.endpoint.replace("http:", "https:")
    found = examine(run, url, "-o", f"endpoint={wrong}", *KEYS)
    assert list(failures(found)) == ["TLS"]
    assert "does not use TLS" in found["TLS"]["sentence"]
    assert found["TLS"]["advice"] == f"-o endpoint={s3_server.endpoint}"
    assert found["list"]["status"] == "skipped"


@pytest.fixture(scope="module")
def https_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with https_server(tmp_path_factory.mktemp("tls")) as endpoint:
        yield endpoint


def test_http_where_the_server_speaks_https(run: Run, https_endpoint: str) -> None:
    wrong = https_endpoint.replace("https:", "http:")
    found = examine(run, "s3://lake/x", "-o", f"endpoint={wrong}", *KEYS)
    assert list(failures(found)) == ["TLS"]
    assert "needs TLS" in found["TLS"]["sentence"]
    assert found["TLS"]["advice"] == f"-o endpoint={https_endpoint}"


def test_a_certificate_that_is_not_trusted(run: Run, https_endpoint: str) -> None:
    found = examine(run, "s3://lake/x", "-o", f"endpoint={https_endpoint}", *KEYS)
    assert list(failures(found)) == ["TLS"]
    assert "is not trusted" in found["TLS"]["sentence"]
    assert "SSL_CERT_FILE" in found["TLS"]["advice"]


def test_a_dead_endpoint(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = examine(run, "s3://lake/x", "-o", f"endpoint=http://127.0.0.1:{port}", *KEYS)
    assert failures(found) == {"TCP": f"nothing listens on 127.0.0.1:{port}"}
    assert "-o endpoint=" in found["TCP"]["advice"]


def test_a_name_without_an_address(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    found = examine(run, "s3://lake/x", "-o", "endpoint=http://no-such-host.invalid", *KEYS)
    assert list(failures(found)) == ["DNS"]
    assert "no-such-host.invalid" in found["DNS"]["sentence"]


def test_a_wrong_region(run: Run) -> None:
    def respond(request: Request) -> Response:
        return Response(400, {"x-amz-bucket-region": "eu-west-1"})

    with ScriptedServer(respond) as server:
        found = examine(run, "s3://lake/x", "-o", f"endpoint={server.endpoint}", *KEYS)
    assert failures(found)["list"] == "the bucket is in the region eu-west-1"
    assert found["list"]["advice"] == "-o region=eu-west-1"
    assert found["reach"]["advice"] == "-o region=eu-west-1"


@pytest.mark.parametrize(
    ("minutes", "sentence", "is_refused"),
    [
        (-20, "this machine's clock is 20 minutes ahead of the server's", True),
        (60 * 5, "this machine's clock is 5 hours behind the server's", True),
        (5, "this machine's clock is 5 minutes behind the server's, which is accepted", False),
    ],
)
def test_a_skewed_clock(minutes: int, sentence: str, is_refused: bool, run: Run) -> None:
    """The server stands in for a machine with another time."""

    def respond(request: Request) -> Response:
        headers = {"Date": format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)}
        if not is_refused:
            return Response(404, headers)
        code = b"<Error><Code>RequestTimeTooSkewed</Code><Message>too large</Message></Error>"
        return Response(403, headers, b"" if request.method == "HEAD" else code)

    with ScriptedServer(respond) as server:
        found = examine(run, "s3://lake/x", "-o", f"endpoint={server.endpoint}", *KEYS)
    assert found["clock"]["sentence"].startswith(sentence)
    assert ("clock" in failures(found)) == is_refused
    if is_refused:
        assert "refuses the signature, as its clock differs" in failures(found)["list"]
        assert "set the clock" in found["list"]["advice"]
        assert "set the clock" in found["clock"]["advice"]


def test_a_server_that_ignores_conditions(run: Run) -> None:
    objects: dict[str, bytes] = {}

    def respond(request: Request) -> Response:
        path = request.target.partition("?")[0]
        if request.method == "PUT":
            objects[path] = request.body
            return Response(200, {"ETag": '"e"'})
        if request.method == "DELETE":
            objects.pop(path, None)
            return Response(204)
        if "list-type" in request.target:
            return Response(200, {}, b"<ListBucketResult><Name>lake</Name></ListBucketResult>")
        if path not in objects:
            return Response(404)
        headers = {"ETag": '"e"', "Last-Modified": "Thu, 26 Nov 2026 00:00:00 GMT"}
        return Response(200, headers, objects[path])

    with ScriptedServer(respond) as server:
        found = examine(run, "s3://lake", "-o", f"endpoint={server.endpoint}", *KEYS, "--write")
    assert list(failures(found)) == ["conditional write"]
    assert "ignores conditions" in found["conditional write"]["sentence"]
    assert objects == {}


def test_wrong_options(run: Run) -> None:
    found = examine(run, "s3://lake/x", "-o", "regoin=eu")
    assert failures(found) == {"options": "s3 has no option 'regoin': did you mean 'region'?"}


def test_a_local_path_has_no_server(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    found = examine(run, str(tmp_path), "--write", code=0)
    assert [found[step]["status"] for step in ("DNS", "TCP", "TLS", "clock")] == ["skipped"] * 4
    assert found["ranged read"]["status"] == "ok"
    assert found["conditional write"]["status"] == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_object_that_cannot_be_removed_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(self: Any, path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(ContentFileSystem, "_rm_file", refused)
    result = run("doctor", "--write", "--json", str(tmp_path))
    found = {one["step"]: one for one in json.loads(result.stdout)}["conditional write"]
    assert "cannot be removed" in found["sentence"]
    assert [f"remove {path}" for path in tmp_path.iterdir()] == [found["advice"]]


def test_secrets_of_options_with_hyphens_are_recognized(run: Run) -> None:
    options = ["-o", "secret-access-key=T0PSECRET", "-o", "key=k", "-o", "timeout=T0PSECRET"]
    for form in ([], ["--json"]):
        result = run("doctor", *form, "s3://b/k", *options)
        assert "must be a number" in result.output
        assert "T0PSECRET" not in result.output


@pytest.mark.parametrize(
    ("endpoint", "proxy"),
    [("http://[::1", ""), ("http://a..b:80", ""), ("http://a.invalid", "http://me:T0PSECRET@127.0.0.1:port")],
)
def test_an_address_that_is_none_fails_a_step_and_not_the_report(
    endpoint: str, proxy: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    found = examine(run, "s3://b/k", *KEYS, "-o", f"endpoint={endpoint}")
    assert {"options", "TCP", "reach", "speed"} <= found.keys()
    assert failures(found)
    assert "T0PSECRET" not in str(found)


def test_a_port_that_does_not_exist(run: Run) -> None:
    found = examine(run, "s3://b/k", *KEYS, "-o", "endpoint=http://127.0.0.1:99999")
    assert found["TCP"]["status"] == "skipped"
    assert "127.0.0.1:99999" in failures(found)["reach"]
    assert "invalid port number" in failures(found)["reach"]
    assert "__cause__" not in failures(found)["reach"]


def test_an_interrupted_write_check_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    location = open_location(str(tmp_path))

    def interrupt(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(location.fs, "cat_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Probe(location).write()
    assert os.listdir(tmp_path) == ["a"]
