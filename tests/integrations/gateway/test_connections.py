"""Connections without the key are few, short and silent."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from botocore.exceptions import ClientError

from opendalfs_gateway import connections
from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted, status_of
from tests.integrations.gateway.sockets import connect, head_of, status_after

PATIENCE = 20.0
"""Seconds after which a test gives up; far more than any of what it waits for takes."""


@pytest.fixture
def server() -> Iterator[Gateway]:
    found = Gateway()
    yield found
    found.stop()


def is_closed(connection: socket.socket, wait: float = PATIENCE) -> bool:
    """Whether the server closes a connection, whatever it sends before."""
    connection.settimeout(wait)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


# Connections


def test_a_first_request_has_ten_seconds_at_most() -> None:
    assert connections._FIRST_REQUEST_SECONDS <= 10


@pytest.mark.parametrize("kind", ["silent", "drips", "has no key", "reads nothing"])
def test_a_connection_without_the_key_is_closed_at_the_deadline(
    server: Gateway, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(connections, "_FIRST_REQUEST_SECONDS", 0.5)
    request = b"GET /x HTTP/1.1\r\nHost: x\r\n"
    over = threading.Event()

    def send(connection: socket.socket) -> None:
        try:
            while not over.wait(0.02):
                if kind == "drips":
                    connection.sendall(b"y")
                elif kind == "has no key":
                    connection.sendall(request + b"\r\n")
                elif kind == "reads nothing":
                    connection.sendall((request + b"\r\n") * 1000)
        except OSError:
            pass

    with connect(server) as connection:
        if kind == "drips":
            connection.sendall(request + b"X: ")
        sender = threading.Thread(target=send, args=(connection,))
        sender.start()
        try:
            if kind == "reads nothing":
                # Sends until the server has closed.
                sender.join(PATIENCE)
                assert not sender.is_alive()
            else:
                assert is_closed(connection, 5)
        finally:
            over.set()
            connection.close()
            sender.join()


def test_a_connection_with_the_key_stays_open(server: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_FIRST_REQUEST_SECONDS", 0.3)
    mounted = Mounted(server, "stays")
    mounted.fs.pipe_file("stays/a", b"12345")
    with connect(server) as connection:
        assert status_after(connection, head_of(mounted)) == 200
        time.sleep(0.6)
        assert status_after(connection, head_of(mounted)) == 200


def test_connections_without_the_key_are_bounded_in_number(
    server: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_MAX_WITHOUT_KEY", 8)
    mounted = Mounted(server, "bounded")
    mounted.fs.pipe_file("bounded/a", b"12345")
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(40)]
        assert all(is_closed(connection) for connection in idle[:30])
        assert mounted.get("a") == b"12345"


# Garbage

GARBAGE = """
import os, socket, ssl
from concurrent.futures import ThreadPoolExecutor
import opendalfs
from opendalfs_gateway.server import Gateway

server = Gateway()
port = int(server.endpoint.rpartition(":")[2])
fs = opendalfs.filesystem("memory")
fs.pipe_file("lake/a", b"12345")
base = server.mount(fs, "lake", write=True).removeprefix("s3:/").encode()
key = server.storage_options["aws_access_key_id"].encode()
authorization = b"Authorization: AWS4-HMAC-SHA256 Credential=" + key + b"/x/x/s3/aws4_request"
NUMBERS = b"9223372036854775807 9223372036854775808 99999999999999999999999 -1 9.2e18 0x10".split()
TARGETS = b"/% /%zz/%2 /%ff%fe/%ff * // http://x/y BASE%ff BASEa?%ff=%zz&=&&a".replace(b"BASE", base).split()
QUERIES = b"a", b"a?uploads", b"a?partNumber=1&uploadId=x", b"a?uploadId=x"

def request(method, target, *headers, body=b""):
    lines = method + b" " + target + b" HTTP/1.1", b"Host: x", *headers, b"", body
    return b"\\r\\n".join(lines)

def send(data, seconds=0.3):
    # What is half a request gets no answer.
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.settimeout(seconds)
            return connection.recv(100)
        except OSError:
            return b""

with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
    context = ssl._create_unverified_context()
    try:
        context.wrap_socket(connection)
    except (ssl.SSLError, OSError):
        pass

garbage = [
    os.urandom(10_000),
    bytes(1000),
    b"\\r\\n" * 1000,
    b"GET /x HTTP/9.9\\r\\n\\r\\n",
    b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n",
    request(b"GET", b"/x" * 50_000),
    request(b"GET", b"/x", *(b"X-%d: " % i + b"y" * 4000 for i in range(2000))),
    request(b"GET", b"/x", b"Transfer-Encoding: chunked", body=b"zz\\r\\n"),
]
for target in TARGETS:
    for method in (b"GET", b"HEAD", b"PUT", b"POST", b"DELETE"):
        garbage.append(request(method, target, authorization))
for n in NUMBERS:
    length = b"Content-Length: " + n
    garbage.append(request(b"PUT", b"/x", length, body=b"1"))
    for query in QUERIES:
        for method in (b"PUT", b"POST"):
            garbage.append(request(method, base + query, authorization, length, body=b"1"))
    garbage.append(request(b"GET", base + b"a", authorization, b"Range: bytes=" + n + b"-" + n))
    garbage.append(request(b"GET", base[:-1] + b"?list-type=2&max-keys=" + n, authorization))
with ThreadPoolExecutor(16) as threads:
    list(threads.map(send, garbage))
answer = send(request(b"GET", base + b"a", authorization), 20)
assert answer.startswith(b"HTTP/1.1 200"), answer
print("still there")
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_garbage_is_answered_without_a_word_on_stderr() -> None:
    done = run(GARBAGE)
    assert (done.stdout, done.stderr) == ("still there\n", "")


def test_a_defect_of_the_gateway_is_logged(
    server: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounted = Mounted(server, "defect")

    async def broken(*_: Any) -> None:
        raise KeyError("defect")

    monkeypatch.setattr(server._handlers, "respond", broken)
    with pytest.raises(ClientError) as error:
        mounted.get("a")
    assert status_of(error) == 500
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# Forks

FORK = """
import os, socket, sys
import opendalfs_gateway.server as module

server = module.gateway()
port = int(server.endpoint.rpartition(":")[2])
client = socket.create_connection(("127.0.0.1", port), timeout=10)
request = b"HEAD /x HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
client.sendall(request)
assert client.recv(1000).startswith(b"HTTP/1.1 403")
read, write = os.pipe()
CHILD
# The parent goes on with the same connection.
client.sendall(request)
assert client.recv(1000).startswith(b"HTTP/1.1 403")
server.stop()
try:
    left = client.recv(1000)
except OSError as exc:
    left = type(exc).__name__.encode()
try:
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    print("still listening")
except ConnectionRefusedError:
    print("refused", left)
os.close(write)
JOIN
"""

BY_OS = (
    """
pid = os.fork()
if pid == 0:
    os.close(write)
    os.read(read, 1)
    os._exit(0)
""",
    "os.waitpid(pid, 0)",
)
BY_MULTIPROCESSING = (
    """
import multiprocessing
def wait():
    os.close(write)
    os.read(read, 1)
process = multiprocessing.get_context("fork").Process(target=wait)
process.start()
""",
    "process.join()",
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("way", [BY_OS, BY_MULTIPROCESSING], ids=["os.fork", "multiprocessing"])
def test_a_forked_child_holds_no_socket_of_the_gateway(way: tuple[str, str]) -> None:
    child, join = way
    done = run(FORK.replace("CHILD", child).replace("JOIN", join))
    assert (done.stdout, done.stderr) == ("refused b''\n", "")
