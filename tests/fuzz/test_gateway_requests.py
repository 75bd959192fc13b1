"""Raw requests to the gateway: an answer or a closed connection, and no change outside of the mount."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import opendalfs
from opendalfs_gateway.server import Gateway
from tests.effort import effort
from tests.fuzz import corpus
from tests.integrations.gateway.sockets import PATIENCE, port_of

SECRET = b"content outside of the mount"

# What a test replaces by what only the running gateway knows.
BUCKET, PREFIX, KEY = b"{bucket}", b"{prefix}", b"{key}"


class Target:
    """A gateway with a mount of one local directory, between files that it must not serve or change."""

    def __init__(self, server: Gateway, folder: Path) -> None:
        self.server = server
        self.folder = folder
        (folder / "mount" / "sub").mkdir(parents=True)
        (folder / "mount-sibling").mkdir()
        (folder / "mount" / "a").write_bytes(b"0123456789")
        (folder / "mount" / "sub" / "b").write_bytes(b"below")
        for name in ("outside", "mount-sibling/outside"):
            (folder / name).write_bytes(SECRET)
        self.outside = self.files_outside()
        base = server.mount(opendalfs.filesystem("fs"), str(folder / "mount"), write=True)
        bucket, _, prefix = base.removeprefix("s3://").partition("/")
        key = server.storage_options["aws_access_key_id"]
        self.values = {BUCKET: bucket.encode(), PREFIX: prefix.encode(), KEY: key.encode()}

    def files_outside(self) -> dict[str, bytes]:
        mount = self.folder / "mount"
        return {
            str(path): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and mount not in path.parents
        }

    def answer(self, request: bytes) -> bytes:
        """Send bytes, then no more, and return all that comes back."""
        for name, value in self.values.items():
            request = request.replace(name, value)
        with socket.create_connection(("127.0.0.1", port_of(self.server)), timeout=PATIENCE) as connection:
            answer = b""
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    answer += piece
            except ConnectionError:
                pass
        return answer

    def check(self, request: bytes, caplog: pytest.LogCaptureFixture) -> bytes:
        """Send a request; check its answer, the log and the files."""
        caplog.clear()
        with caplog.at_level(logging.INFO):
            answer = self.answer(request)
        assert not answer or answer.startswith(b"HTTP/"), answer
        for text in (b"Traceback", b"InternalError", SECRET, b" 500 Internal"):
            assert text not in answer, answer
        assert not [record for record in caplog.records if record.name != "asyncio"], caplog.text
        assert self.files_outside() == self.outside
        return answer


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    server = Gateway()
    yield Target(server, tmp_path_factory.mktemp("gateway"))
    server.stop()


methods = st.sampled_from(
    [b"GET", b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"OPTIONS", b"CONNECT", b"\x00", b"get"]
)
pieces = st.sampled_from(
    [
        b"a",
        b"sub/b",
        b"sub",
        b"sub/",
        b"..",
        b"%2e%2e",
        b"%2E%2e%2Foutside",
        b"../outside",
        b"..%2foutside",
        b"/",
        b"//",
        b"%00",
        b"%0d%0aX:y",
        b"%",
        b"%zz",
        b"%ff",
        b"\xff",
        b".",
        b"%20",
        b"new",
        b"mount-sibling/outside",
        b"%5c..%5c",
        b"a" * 300,
    ]
)
keys = st.lists(pieces, max_size=4).map(b"".join)
queries = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"list-type",
                b"prefix",
                b"delimiter",
                b"max-keys",
                b"continuation-token",
                b"start-after",
                b"encoding-type",
                b"uploads",
                b"uploadId",
                b"partNumber",
                b"x-id",
                b"acl",
                b"%00",
                b"&",
            ]
        ),
        st.sampled_from(
            [
                b"2",
                b"",
                b"{prefix}",
                b"{prefix}sub",
                b"/",
                b"0",
                b"1",
                b"-1",
                b"9" * 30,
                b"url",
                b"..",
                b"%ff",
                b"{prefix}../",
                b"x.%3d",
                b"x.Li4v",
                b"%00",
            ]
        ),
    ).map(b"=".join),
    max_size=4,
).map(lambda pairs: b"?" + b"&".join(pairs) if pairs else b"")
targets = st.one_of(
    st.tuples(
        st.sampled_from(
            [b"/{bucket}/{prefix}", b"/{bucket}/", b"/{bucket}/x/mount/", b"/x/", b"{bucket}", b"*", b""]
        ),
        keys,
        queries,
    ).map(b"".join),
    st.tuples(
        st.just(b"/{bucket}?list-type=2&prefix={prefix}"), keys, queries.map(lambda q: q.replace(b"?", b"&"))
    ).map(b"".join),
    st.binary(max_size=20),
)
headers = st.lists(
    st.sampled_from(
        [
            b"Range: bytes=0-3",
            b"Range: bytes=5-2",
            b"Range: bytes=-0",
            b"Range: bytes=99-",
            b"Range: bytes=0-1,3-4",
            b"Range: x",
            b"If-Match: *",
            b'If-Match: "x"',
            b"If-None-Match: *",
            b"Expect: 100-continue",
            b"Transfer-Encoding: chunked",
            b"Content-Encoding: aws-chunked",
            b"Content-Encoding: gzip",
            b"Connection: close",
            b"Connection: upgrade",
            b"Upgrade: h2c",
            b"x-amz-copy-source: /{bucket}/{prefix}a",
            b"x-amz-decoded-content-length: 5",
            b"x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            b"Content-Length: 5",
            b"Content-Length: -1",
            b"Content-Length: 99",
            b"Host: y",
            b"X: \x00",
            b"X",
            b": x",
            b"\xff: x",
            b"Content-Type: a/b; charset=x",
        ]
    ),
    max_size=4,
)
authorizations = st.sampled_from(
    [b"Authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/x/s3/aws4_request"] * 6
    + [
        b"Authorization: AWS4-HMAC-SHA256 Credential=/x",
        b"Authorization: Basic x",
        b"X: y",
        b"Authorization: \xff",
    ]
)
bodies = (
    st.sampled_from(
        [
            b"",
            b"12345",
            b"5\r\n12345\r\n0\r\n\r\n",
            b"-1\r\n",
            b"5;chunk-signature=x\r\n12345\r\n0;\r\n",
            b"zz\r\n",
        ]
    )
    | st.binary(max_size=20)
    | st.sampled_from(
        [
            b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
            b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>",
            b"<Part>",
        ]
    )
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw the bytes of one or two requests, some of them damaged."""
    sent = b""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        body = draw(bodies)
        lines = [
            b"%s %s %s"
            % (
                draw(methods),
                draw(targets),
                draw(st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/2.0", b""])),
            )
        ]
        lines += [b"Host: x", draw(authorizations), *draw(headers)]
        if body and draw(st.booleans()):
            lines.append(b"Content-Length: %d" % len(body))
        sent += b"\r\n".join(lines) + b"\r\n\r\n" + body
    data = bytearray(sent)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=4))
    return bytes(data)


@settings(parent=effort(120), suppress_health_check=list(HealthCheck))
@given(data=requests())
def test_any_request_is_answered_and_nothing_outside_the_mount_is_touched(
    target: Target, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    target.check(data, caplog)


@settings(parent=effort(40), suppress_health_check=list(HealthCheck))
@given(data=requests())
def test_no_request_without_the_key_is_served(
    target: Target, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    before = {path: path.read_bytes() for path in target.folder.rglob("*") if path.is_file()}
    answer = target.check(data.replace(KEY, b"0" * 40), caplog)
    assert b" 200 " not in answer[:20]
    assert b"0123456789" not in answer
    assert {path: path.read_bytes() for path in target.folder.rglob("*") if path.is_file()} == before


@corpus.each("gateway")
def test_a_request_that_once_failed(target: Target, caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    target.check(data, caplog)
