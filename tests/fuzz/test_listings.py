"""Whatever a server sends as a listing: names below the directory, or an OSError, after few requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

import opendalfs
from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.testing import Request, Response, ScriptedServer
from tests.effort import effort
from tests.fuzz import corpus

MOST_REQUESTS = 100

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6)
keys = (
    st.sampled_from(
        [
            "d/",
            "d/a",
            "d/b/",
            "d/b/c",
            "d/b/c/",
            "d",
            "",
            "/",
            "/d/a",
            "d//a",
            "d/../x",
            "d/./a",
            "../x",
            "e/f",
        ]
    )
    | names.map(lambda name: f"d/{name}")
    | st.tuples(names, names).map(lambda pair: f"d/{pair[0]}/{pair[1]}")
    | names
)
sizes = st.sampled_from(["0", "1", "7", "-1", "", "x", "1e3", str(2**63), str(2**64), "9" * 40])
times = st.sampled_from(
    ["2026-01-01T00:00:00.000Z", "", "yesterday", "9999-12-31T23:59:59Z", "0000-00-00T00:00:00Z"]
)
tags = st.sampled_from(['"0"', "", "W/", '"', "\u00fc"])


@st.composite
def s3_page(draw: st.DrawFn) -> bytes:
    """Draw a page of ListObjectsV2."""
    items = [
        f"<Contents><Key>{escape(draw(keys))}</Key><LastModified>{draw(times)}</LastModified>"
        f"<ETag>{escape(draw(tags))}</ETag><Size>{draw(sizes)}</Size></Contents>"
        for _ in range(draw(st.integers(0, 5)))
    ]
    items += [
        f"<CommonPrefixes><Prefix>{escape(draw(keys))}</Prefix></CommonPrefixes>"
        for _ in range(draw(st.integers(0, 2)))
    ]
    head = draw(st.sampled_from(["", "<IsTruncated>false</IsTruncated>", "<IsTruncated>true</IsTruncated>"]))
    token = draw(st.sampled_from(["", "<NextContinuationToken>t</NextContinuationToken>"]))
    return f"<ListBucketResult>{head}{token}{''.join(items)}</ListBucketResult>".encode()


@st.composite
def webdav_page(draw: st.DrawFn) -> bytes:
    """Draw an answer to PROPFIND."""
    starts = st.sampled_from(["/", "", "http://other/"])
    kinds = st.sampled_from(["", "<D:collection/>"])
    dates = st.sampled_from(["Thu, 01 Jan 2026 00:00:00 GMT", "", "x"])
    items = [
        f"<D:response><D:href>{draw(starts)}{escape(draw(keys))}</D:href>"
        f"<D:propstat><D:prop><D:resourcetype>{draw(kinds)}</D:resourcetype>"
        f"<D:getcontentlength>{draw(sizes)}</D:getcontentlength>"
        f"<D:getlastmodified>{draw(dates)}</D:getlastmodified>"
        "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        for _ in range(draw(st.integers(0, 4)))
    ]
    return f'<D:multistatus xmlns:D="DAV:">{"".join(items)}</D:multistatus>'.encode()


@st.composite
def damaged(draw: st.DrawFn, pages: st.SearchStrategy[bytes]) -> bytes:
    """Draw a page, in which a few bytes may be changed or missing."""
    data = bytearray(draw(pages))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=4))
    return bytes(data)


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "find": lambda fs, path: fs.find(path),
    "find of two levels": lambda fs, path: fs.find(path, maxdepth=2, withdirs=True),
    "ls": lambda fs, path: fs.ls(path, detail=False),
    "walk": lambda fs, path: [
        f"{top}/{name}" for top, dirs, files in fs.walk(path) for name in [*dirs, *files] if name
    ],
    "glob": lambda fs, path: fs.glob(f"{path}/*"),
    "du": lambda fs, path: list(fs.du(path, total=False)),
}


class Server:
    """Answers each listing with the next of some pages, and then that there are no more.

    OpenDAL requests an empty page that promises more again and again (docs/upstream.md), so none is repeated.
    """

    def __init__(self) -> None:
        self.pages: list[bytes] = []
        self.requests = 0

    def __call__(self, request: Request) -> Response:
        self.requests += 1
        if self.requests > 3 * MOST_REQUESTS:
            return Response(404)
        if request.method == "HEAD":
            return Response(404)
        if not self.pages:
            return Response(200, body=b"<ListBucketResult/>") if request.method == "GET" else Response(404)
        status = 207 if request.method == "PROPFIND" else 200
        page = self.pages.pop(0)
        return Response(status, {"Content-Type": "application/xml"}, page)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Server, str]]:
    with ScriptedServer(script := Server()) as running:
        yield script, running.endpoint


def s3(endpoint: str) -> tuple[ServiceFileSystem, str]:
    options = {"key": "k", "secret": "s", "region": "us-east-1", "endpoint_url": endpoint}
    return opendalfs.S3FileSystem(**options, retries=0, skip_instance_cache=True), "lake/d"


def webdav(endpoint: str) -> tuple[ServiceFileSystem, str]:
    return opendalfs.WebdavFileSystem(endpoint=endpoint, retries=0, skip_instance_cache=True), "d"


def check(server: tuple[Server, str], connect: Callable[[str], Any], pages: list[bytes], call: str) -> None:
    script, endpoint = server
    script.pages, script.requests = list(pages), 0
    fs, path = connect(endpoint)
    try:
        found = CALLS[call](fs, path)
    except OSError as exc:
        assert str(exc)
    else:
        assert all(name == path or name.startswith(f"{path}/") for name in found), found
        assert all(isinstance(name, str) for name in found)
        assert call == "walk" or len(set(found)) == len(found), found
    assert script.requests <= MOST_REQUESTS


@effort(60)
@given(st.lists(damaged(s3_page()), min_size=1, max_size=3), st.sampled_from(sorted(CALLS)))
def test_any_listing_of_s3_is_names_below_the_directory_or_an_error(
    server: tuple[Server, str], pages: list[bytes], call: str
) -> None:
    check(server, s3, pages, call)


@effort(40)
@given(st.lists(damaged(webdav_page()), min_size=1, max_size=3), st.sampled_from(sorted(CALLS)))
def test_any_listing_of_webdav_is_names_below_the_directory_or_an_error(
    server: tuple[Server, str], pages: list[bytes], call: str
) -> None:
    check(server, webdav, pages, call)


@corpus.each("listings")
@pytest.mark.parametrize("call", CALLS)
def test_a_listing_that_once_failed(server: tuple[Server, str], data: bytes, call: str) -> None:
    connect = webdav if b"multistatus" in data else s3
    check(server, connect, [data], call)
