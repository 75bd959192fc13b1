"""The delay proxy is transparent to every client, and its counters are exact."""

from __future__ import annotations

import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import opendal
import pyarrow.fs as pafs
import pytest
import s3fs
from botocore.exceptions import ClientError

from opendalfs.testing import DelayProxy, S3Server
from tests.waiting import eventually

LARGE = 20_000_003
PART = 6 << 20


@pytest.fixture(scope="module", params=[False, True], ids=["kernel", "portable"])
def shared_proxy(s3_server: S3Server, request: pytest.FixtureRequest) -> Iterator[DelayProxy]:
    if not s3_server.endpoint.startswith("http://"):
        pytest.skip("the proxy speaks plain http only")
    if sys.platform != "linux" and not request.param:
        pytest.skip("the kernel helps on Linux only")
    with DelayProxy(s3_server.endpoint, portable=request.param) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: DelayProxy) -> DelayProxy:
    shared_proxy.set(latency=0, bandwidth=0)
    shared_proxy.reset()
    return shared_proxy


@pytest.fixture
def client(s3_server: S3Server, proxy: DelayProxy) -> Any:
    return s3_server.client_at(proxy.endpoint)


@pytest.fixture
def place(prefix: str) -> dict[str, str]:
    bucket, _, start = prefix.partition("/")
    return {"Bucket": bucket, "Key": f"{start}/a"}


def test_counts_are_exact(proxy: DelayProxy, client: Any, place: dict[str, str]) -> None:
    client.put_object(**place, Body=b"x" * 1000)
    client.head_object(**place)
    client.get_object(**place)["Body"].read()
    client.get_object(**place, Range="bytes=100-199")["Body"].read()
    seen = proxy.counters()
    assert seen.requests_by_method == {"PUT": 1, "HEAD": 1, "GET": 2}
    assert seen.sent_by_method["GET"] == seen.sent == 1100
    assert seen.received_by_method["PUT"] == 1000
    assert seen.failures_by_status == {}
    assert (seen.requests, seen.peak) == (4, 1)


def test_counts_from_zero_after_a_reset(proxy: DelayProxy, client: Any, place: dict[str, str]) -> None:
    client.put_object(**place, Body=b"x")

    def is_zero() -> bool:
        # The client may have the reply before the proxy has noted that it is out.
        proxy.reset()
        seen = proxy.counters()
        return (seen.requests, seen.received, seen.peak, seen.connections) == (0, 0, 0, 0)

    assert eventually(is_zero)


def test_failures_are_counted_and_passed_on(proxy: DelayProxy, client: Any, place: dict[str, str]) -> None:
    with pytest.raises(ClientError, match="404"):
        client.head_object(**place)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        # botocore sends the body only once the server has said it wants it.
        client.put_object(Bucket="no-such-bucket", Key="a", Body=b"x" * LARGE)
    seen = proxy.counters()
    assert seen.failures_by_status == {"404": 2}


def test_large_bodies_pass_unharmed(
    proxy: DelayProxy, s3_server: S3Server, client: Any, place: dict[str, str]
) -> None:
    body = os.urandom(LARGE)
    client.put_object(**place, Body=body)
    assert s3_server.client.get_object(**place)["Body"].read() == body
    assert client.get_object(**place)["Body"].read() == body
    seen = proxy.counters()
    assert (seen.sent, seen.received) == (LARGE, LARGE)


def test_clients_of_all_kinds_pass(proxy: DelayProxy, s3_server: S3Server, place: dict[str, str]) -> None:
    body = os.urandom(LARGE)
    path = "/".join(place.values())
    by_s3fs = s3fs.S3FileSystem(**proxy.through(s3_server.options), skip_instance_cache=True)
    by_s3fs.pipe_file(path, body)
    by_arrow = pafs.S3FileSystem(
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        region=s3_server.region,
        endpoint_override=proxy.endpoint,
    )
    with by_arrow.open_input_file(path) as file:
        assert file.read() == body
    with by_arrow.open_output_stream(path) as file:
        file.write(body[::-1])
    by_opendal = opendal.Operator(
        "s3",
        bucket=place["Bucket"],
        endpoint=proxy.endpoint,
        region=s3_server.region,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
    )
    assert by_opendal.read(place["Key"]) == body[::-1]
    by_opendal.write(place["Key"], body, chunk=PART, concurrent=4)
    by_s3fs.invalidate_cache()
    assert by_s3fs.cat_file(path) == body
    assert by_s3fs.ls(path, refresh=True) == [path]


def test_many_at_once(proxy: DelayProxy, client: Any, place: dict[str, str]) -> None:
    body = os.urandom(100_000)
    client.put_object(**place, Body=body)
    proxy.reset()

    def read(start: int) -> bool:
        part = client.get_object(**place, Range=f"bytes={start}-{start + 999}")
        return bool(part["Body"].read() == body[start : start + 1000])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(0, 100_000, 1000)))
    seen = proxy.counters()
    assert (seen.requests, seen.sent) == (100, 100_000)
    assert seen.peak > 1


def test_nothing_is_faster_than_it_is_set(proxy: DelayProxy, client: Any, place: dict[str, str]) -> None:
    client.put_object(**place, Body=b"x" * LARGE)
    proxy.set(latency=0.2, bandwidth=0)
    start = time.monotonic()
    client.head_object(**place)
    assert time.monotonic() - start >= 0.2
    proxy.set(latency=0, bandwidth=40e6)
    start = time.monotonic()
    client.get_object(**place)["Body"].read()
    # What sits in a socket's buffers when the transfer begins is not held back.
    assert time.monotonic() - start >= 0.5 * LARGE / 40e6


def test_a_share_of_the_requests_is_slow(proxy: DelayProxy, client: Any, place: dict[str, str]) -> None:
    client.put_object(**place, Body=b"x")
    proxy.reset()
    proxy.set(latency=0.001, bandwidth=0, tail=0.25, factor=60)
    slow = 0
    for _ in range(40):
        start = time.monotonic()
        client.head_object(**place)
        slow += time.monotonic() - start >= 0.060
    seen = proxy.counters()
    assert 1 <= seen.slow < 40
    assert slow >= seen.slow


ODD_ANSWERS = {
    b"/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;name=value\r\nhello\r\n1\r\n!\r\n0\r\nChecksum: 1\r\n\r\n",
    b"/until-closed": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello!",
    b"/early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!",
    b"/empty": b"HTTP/1.1 204 No Content\r\n\r\n",
}


class OddHandler(socketserver.StreamRequestHandler):
    """A server that answers by the letter of HTTP/1.1, with what S3 servers seldom use."""

    def handle(self) -> None:
        first = self.rfile.readline()
        chunked = False
        while (line := self.rfile.readline()) != b"\r\n":
            chunked |= line.lower().startswith(b"transfer-encoding: chunked")
        while chunked and self.rfile.readline() != b"0\r\n":
            pass
        self.wfile.write(ODD_ANSWERS[first.split()[1]])


@pytest.fixture
def odd_proxy() -> Iterator[DelayProxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OddHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.server_address[:2]
        with DelayProxy(f"http://{host!s}:{port}") as proxy:
            yield proxy
        server.shutdown()


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(proxy: DelayProxy, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port_of(proxy.endpoint))) as raw:
        raw.sendall(request)
        raw.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: raw.recv(65536), b""))


@pytest.mark.parametrize("path", ODD_ANSWERS)
def test_answers_pass_byte_by_byte(odd_proxy: DelayProxy, path: bytes) -> None:
    assert ask(odd_proxy, b"GET " + path + b" HTTP/1.1\r\n\r\n") == ODD_ANSWERS[path]
    assert odd_proxy.counters().sent == (0 if path == b"/empty" else 6)


def test_chunked_requests_pass_and_count_their_payload(odd_proxy: DelayProxy) -> None:
    chunks = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    head = b"PUT /empty HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert ask(odd_proxy, head + chunks) == ODD_ANSWERS[b"/empty"]
    assert odd_proxy.counters().received_by_method == {"PUT": 7}


def test_https_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an http:"):
        DelayProxy("https://example.com")


def test_it_ends_with_its_owner() -> None:
    code = (
        "import os\n"
        "from opendalfs.testing import DelayProxy\n"
        "proxy = DelayProxy('http://127.0.0.1:9').__enter__()\n"
        "print(proxy.endpoint, flush=True)\n"
        "os._exit(0)\n"
    )
    root = Path(__file__).parents[2]
    owner = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    port = port_of(owner.stdout.strip())
    assert eventually(lambda: not is_open(port))
