"""Servers with wrong listings: the result is complete, or an error is raised."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest

import opendalfs
from opendalfs.storage.paging import PAGE
from opendalfs.testing import Moto, Request, Response, ScriptedServer

ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>try again</Message></Error>"
HTML = b"<!DOCTYPE html><html><body>The proxy has no answer</body></html>"


def listing(keys: list[str], token: str | None = None) -> bytes:
    """Write a page of ListObjectsV2."""
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f'<ETag>"{number:032x}"</ETag><Size>1</Size></Contents>'
        for number, key in enumerate(keys)
    )
    more = "" if token is None else f"<NextContinuationToken>{token}</NextContinuationToken>"
    truncated = "false" if token is None else "true"
    return (
        "<?xml version='1.0'?><ListBucketResult><Name>lake</Name>"
        f"<IsTruncated>{truncated}</IsTruncated>{more}{contents}</ListBucketResult>"
    ).encode()


class Lists:
    """Answers ListObjectsV2 of some keys, with `wrong` in place of an answer where it returns one."""

    def __init__(
        self, keys: list[str], wrong: Callable[[dict[str, str]], bytes | None], size: int = PAGE
    ) -> None:
        self.keys = sorted(keys)
        self.wrong = wrong
        self.size = size
        self.honours_start_after = True
        self.asked = 0

    def __call__(self, request: Request) -> Response:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        if "list-type" not in query:
            return Response(404)
        self.asked += 1
        wrong = self.wrong(query)
        if wrong is not None:
            return Response(200, body=wrong)
        after = query.get("continuation-token")
        if after is None and self.honours_start_after:
            after = query.get("start-after")
        first = bisect.bisect_right(self.keys, after) if after is not None else 0
        found = self.keys[first : first + self.size]
        token = found[-1] if first + self.size < len(self.keys) else None
        return Response(200, body=listing(found, token))


def filesystem(server: ScriptedServer) -> opendalfs.S3FileSystem:
    options = {"key": "k", "secret": "s", "region": "us-east-1", "endpoint_url": server.endpoint}
    return opendalfs.S3FileSystem(**options, use_listings_cache=False, retries=0, skip_instance_cache=True)


KEYS = [f"d/{number:05}" for number in range(2_500)]


@pytest.mark.parametrize("body", [ERROR, HTML], ids=["error", "html"])
@pytest.mark.parametrize("call", ["find", "ls"])
def test_a_later_page_that_is_an_error_of_status_200_is_asked_again(body: bytes, call: str) -> None:
    failed: list[str] = []

    def second_page_fails_once(query: dict[str, str]) -> bytes | None:
        # The list that takes it up begins with start-after, and so has no token.
        if "continuation-token" in query and not failed:
            failed.append(query["continuation-token"])
            return body
        return None

    with ScriptedServer(lists := Lists(KEYS, second_page_fails_once)) as server:
        fs = filesystem(server)
        found = fs.find("lake/d") if call == "find" else fs.ls("lake/d", detail=False)
    assert failed
    assert found == [f"lake/{key}" for key in KEYS]
    assert lists.asked <= 6


@pytest.mark.parametrize("cached", [True, False])
def test_walk_raises_the_error_of_a_listing_unless_it_is_told_to_omit_it(cached: bool) -> None:
    with ScriptedServer(lambda request: Response(403)) as server:
        fs = filesystem(server)
        fs.dircache.use_listings_cache = cached
        with pytest.raises(PermissionError):
            list(fs.walk("lake/d"))
        assert list(fs.walk("lake/d", on_error="omit")) == [("lake/d", [], [])]
        errors: list[OSError] = []
        assert list(fs.walk("lake/d", on_error=errors.append)) == [("lake/d", [], [])]
        assert len(errors) == 1


def never(query: dict[str, str]) -> bytes | None:
    return None


def test_walk_of_a_directory_that_does_not_exist_is_empty() -> None:
    with ScriptedServer(Lists([], never)) as server:
        assert list(filesystem(server).walk("lake/missing")) == [("lake/missing", [], [])]


@pytest.mark.parametrize(("count", "asked"), [(PAGE - 1, 1), (PAGE, 2), (PAGE + 1, 2), (2 * PAGE, 3)])
def test_only_a_list_that_ends_on_a_full_page_costs_a_request_more(count: int, asked: int) -> None:
    with ScriptedServer(lists := Lists(KEYS[:count], never)) as server:
        assert len(filesystem(server).ls("lake/d")) == count
    assert lists.asked == asked


def test_a_server_that_does_not_know_start_after_is_not_listed_twice() -> None:
    lists = Lists(KEYS[: 2 * PAGE], never)
    lists.honours_start_after = False
    with ScriptedServer(lists) as server:
        assert filesystem(server).ls("lake/d", detail=False) == [f"lake/{key}" for key in lists.keys]
    assert lists.asked <= 3 + 1


@pytest.fixture(params=[1, 3, 400, PAGE])
def repeating(request: pytest.FixtureRequest) -> Iterator[tuple[opendalfs.S3FileSystem, Lists]]:
    """Yield a filesystem on a server that answers the first page, and its token, for ever."""
    page = listing(KEYS[: request.param], token="again")
    with ScriptedServer(lists := Lists(KEYS, lambda query: page)) as server:
        yield filesystem(server), lists


@pytest.mark.parametrize("call", ["find", "ls"])
def test_a_page_that_brings_nothing_new_is_an_error(
    repeating: tuple[opendalfs.S3FileSystem, Lists], call: str
) -> None:
    fs, lists = repeating
    with pytest.raises(OSError, match="lists the same keys again and again") as caught:
        getattr(fs, call)("lake/d")
    assert caught.value.filename == "lake/d"
    assert lists.asked <= 70


def test_versions_of_one_key_are_no_repetition(moto_server: object) -> None:
    assert isinstance(moto_server, Moto)
    bucket = "versions-of-one-key"
    moto_server.make_bucket(bucket)
    moto_server.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    fs = opendalfs.filesystem("s3", version_aware=True, **moto_server.options)
    for number in range(20):
        fs.pipe_file(f"{bucket}/key", b"%d" % number)
    assert len(fs.object_version_info(f"{bucket}/key")) == 20
