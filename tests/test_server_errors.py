"""The first line of an error says what to do when a server is down, or reached or asked in a wrong way."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.errors import NoContainerError
from opendalfs.testing import Azurite, MariaDB, PostgreSQL, Pyftpdlib, Redis, WsgiDav
from tests.https_server import https_server

BRIEF: dict[str, Any] = {"retries": 0, "timeout": 2, "io_timeout": 2, "skip_instance_cache": True}


def first_line(fs: Any, path: str, kind: type[OSError]) -> str:
    with pytest.raises(OSError, match=r".") as caught:
        fs.cat_file(path)
    assert type(caught.value) is kind
    assert caught.value.filename == path
    assert "hush" not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    return str(caught.value).splitlines()[0]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


NO_CERTIFICATES = """
import opendalfs
options = {"endpoint_url": "http://127.0.0.1:1", "key": "hush", "secret": "hush", "region": "us-east-1"}
fs = opendalfs.filesystem("s3", **options)
calls = [
    lambda: fs.cat_file("lake/key"),
    lambda: fs.ls("lake"),
    lambda: fs.open("lake/key").read(),
    lambda: fs.pipe_file("lake/key", b"1"),
]
for call in calls:
    try:
        call()
    except OSError as exc:
        print(str(exc).splitlines()[0])
"""


def test_a_machine_without_ca_certificates_is_told_what_to_install() -> None:
    environment = {**os.environ, "SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"}
    command = [sys.executable, "-c", NO_CERTIFICATES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all("install CA certificates or set SSL_CERT_FILE" in line for line in lines)
    assert "hush" not in done.stdout


# Down, or the wrong password


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("redis", {"endpoint": "redis://127.0.0.1:{}", "password": "hush-hush"}),
        pytest.param(
            "mysql",
            {"connection_string": "mysql://u:hush@127.0.0.1:{}/d", "table": "t"},
            marks=pytest.mark.services,
        ),
        pytest.param(
            "postgresql",
            {"connection_string": "postgresql://u:hush@127.0.0.1:{}/d", "table": "t"},
            marks=pytest.mark.services,
        ),
    ],
)
def test_a_server_that_is_down_behind_a_pool_says_what_to_check(
    closed_port: int, scheme: str, options: dict[str, str]
) -> None:
    filled = {name: value.format(closed_port) for name, value in options.items()}
    told = first_line(opendalfs.filesystem(scheme, **filled, **BRIEF), "key", TimeoutError)
    assert "check the server, its address, the user and the password" in told


@pytest.mark.parametrize("scheme", ["ftp", "memcached"])
def test_a_server_that_is_down_says_to_check_the_endpoint(closed_port: int, scheme: str) -> None:
    protocol = {"ftp": "ftp", "memcached": "tcp"}[scheme]
    fs = opendalfs.filesystem(scheme, endpoint=f"{protocol}://127.0.0.1:{closed_port}", **BRIEF)
    assert "Cannot reach the server: check the endpoint" in first_line(fs, "key", ConnectionError)


@pytest.mark.parametrize(
    "wrong", [{"password": "hush-hush"}, {"user": "nobody"}, {"user": None, "password": None}]
)
def test_a_wrong_login_at_ftp_says_to_check_it(ftp_server: Pyftpdlib, wrong: dict[str, Any]) -> None:
    fs = opendalfs.filesystem("ftp", **{**ftp_server.options, **wrong}, **BRIEF)
    assert "check the user and the password" in first_line(fs, "key", PermissionError)


@pytest.mark.parametrize(("wrong", "kind"), [("hush-hush", TimeoutError), (None, PermissionError)])
def test_a_wrong_password_at_redis_says_to_check_it(
    redis_server: Redis, wrong: str | None, kind: type[OSError]
) -> None:
    options = {**redis_server.options, "password": wrong}
    told = first_line(opendalfs.filesystem("redis", **options, **BRIEF), "key", kind)
    assert "password" in told
    right = opendalfs.filesystem("redis", **redis_server.options, **BRIEF)
    right.pipe_file("key", b"1")
    assert right.cat_file("key") == b"1"


@pytest.mark.services
@pytest.mark.parametrize(
    ("scheme", "server", "right", "wrong"),
    [
        ("mysql", MariaDB, "tester:tester@", "tester:hush@"),
        ("postgresql", PostgreSQL, "postgres@", "nobody:hush@"),
    ],
)
def test_a_wrong_login_at_a_database_says_to_check_it(
    scheme: str, server: type[MariaDB | PostgreSQL], right: str, wrong: str
) -> None:
    from tests.conftest import _started

    for started in _started(server()):
        options = started.options
        assert right in options["connection_string"]
        assert not opendalfs.filesystem(scheme, **options, **BRIEF).exists("key")
        options = {**options, "connection_string": options["connection_string"].replace(right, wrong)}
        told = first_line(opendalfs.filesystem(scheme, **options, **BRIEF), "key", PermissionError)
        assert "check the user and the password" in told


@pytest.mark.parametrize("scheme", ["memcached", "mysql"])
@pytest.mark.services
def test_a_value_that_the_server_does_not_take_says_so(scheme: str, request: pytest.FixtureRequest) -> None:
    options = request.getfixturevalue(f"{scheme}_server").options
    fs = opendalfs.filesystem(scheme, **options, skip_instance_cache=True)
    with pytest.raises(OSError, match="too large for the server") as caught:
        fs.pipe_file("key", bytes({"memcached": 33, "mysql": 17}[scheme] << 20))
    assert caught.value.errno == errno.EFBIG


# HTTP and HTTPS


def test_https_to_an_http_port_says_so(wsgidav_server: WsgiDav) -> None:
    endpoint = wsgidav_server.endpoint.replace("http:", "https:")
    for scheme, path in (("webdav", "key"), ("s3", "lake/key")):
        options = {"key": "hush-k", "secret": "hush-s"} if scheme == "s3" else {}
        told = first_line(
            opendalfs.filesystem(scheme, endpoint=endpoint, **options, **BRIEF), path, ConnectionError
        )
        assert "use http://" in told


@pytest.fixture(scope="module")
def https_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with https_server(tmp_path_factory.mktemp("tls")) as endpoint:
        yield endpoint


def test_http_to_an_https_port_says_so(https_endpoint: str) -> None:
    endpoint = https_endpoint.replace("https:", "http:")
    told = first_line(opendalfs.filesystem("webdav", endpoint=endpoint, **BRIEF), "key", ConnectionError)
    assert "needs http:// or https://" in told


@pytest.fixture
def chatting_port() -> Iterator[int]:
    """Yield the port of a server that answers a request as an FTP server would."""

    def answer(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(b"500 Command not understood.\r\n")
            connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_http_to_a_port_of_another_protocol_says_so(chatting_port: int) -> None:
    fs = opendalfs.filesystem("webdav", endpoint=f"http://127.0.0.1:{chatting_port}", **BRIEF)
    assert "does not use HTTP at this port" in first_line(fs, "key", ConnectionError)


def test_a_certificate_that_nobody_signed_is_named(https_endpoint: str) -> None:
    told = first_line(
        opendalfs.filesystem("webdav", endpoint=https_endpoint, **BRIEF), "key", ConnectionError
    )
    assert "certificate is not trusted" in told


# Regions and containers

MOVED = b"<?xml version='1.0'?><Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"
MALFORMED = (
    b"<?xml version='1.0'?><Error><Code>AuthorizationHeaderMalformed</Code>"
    b"<Message>the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message></Error>"
)


@pytest.fixture(params=[(301, MOVED), (400, MALFORMED)], ids=["301", "400"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the endpoint of an S3 server that answers as AWS does for a bucket of another region."""
    status, body = request.param

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("x-amz-bucket-region", "eu-west-1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = _answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_bucket_of_another_region_names_the_region(elsewhere: str) -> None:
    options = {"key": "hush-k", "secret": "hush-s", "endpoint_url": elsewhere, "region": "us-east-1"}
    fs = opendalfs.filesystem("s3", **options, **BRIEF)
    calls = (fs.info, fs.cat_file, fs.ls, fs.find, lambda path: fs.pipe_file(path, b"1"))
    for call in calls:
        with pytest.raises(OptionError, match="in another region: pass region='eu-west-1'"):
            call("lake/key")


def test_a_missing_container_of_azure_is_named(azure_server: Azurite) -> None:
    fs = opendalfs.filesystem("azblob", **azure_server.options, **{**BRIEF, "timeout": 20, "io_timeout": 20})
    calls = (
        fs.info,
        fs.cat_file,
        fs.ls,
        lambda path: fs.open(path).read(),
        lambda path: fs.pipe_file(path, b"1"),
    )
    for call in calls:
        with pytest.raises(NoContainerError, match="No such bucket or container"):
            call("no-such-container/key")
    assert not fs.exists("no-such-container/key")
    with pytest.raises(FileNotFoundError) as caught:
        fs.info(f"{azure_server.bucket}/key")
    assert not isinstance(caught.value, NoContainerError)
