"""Servers with wrong listings: the result is complete, or an error is raised."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit
from xml.sax.saxutils import escape

import pytest

import opendalfs
from opendalfs.storage.paging import PAGE
from opendalfs.testing import Moto, Request, Response, ScriptedServer

ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>try again</Message></Error>"
HTML = b"<!DOCTYPE html><html><body>The proxy has no answer</body></html>"


def listing(keys: list[str], token: str | None = None) -> bytes:
    """Write a page of ListObjectsV2; a name that ends in a slash is a common prefix."""
    prefixes = "".join(
        f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>" for key in keys if key[-1] == "/"
    )
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f'<ETag>"{number:032x}"</ETag><Size>1</Size></Contents>'
        for number, key in enumerate(keys)
        if key[-1] != "/"
    )
    more = "" if token is None else f"<NextContinuationToken>{token}</NextContinuationToken>"
    truncated = "false" if token is None else "true"
    return (
        "<?xml version='1.0'?><ListBucketResult><Name>lake</Name>"
        f"<IsTruncated>{truncated}</IsTruncated>{more}{contents}{prefixes}</ListBucketResult>"
    ).encode()


class Lists:
    """Answers ListObjectsV2 of some keys, with `wrong` in place of an answer where it returns one."""

    def __init__(
        self,
        keys: list[str],
        wrong: Callable[[dict[str, str]], bytes | Response | None],
        size: int = PAGE,
        inclusive: bool = False,
    ) -> None:
        self.keys = sorted(keys)
        self.wrong = wrong
        self.size = size
        self.inclusive = inclusive
        self.honours_start_after = True
        self.asked = 0

    def __call__(self, request: Request) -> Response:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        if "list-type" not in query:
            return Response(404)
        self.asked += 1
        wrong = self.wrong(query)
        if wrong is not None:
            return wrong if isinstance(wrong, Response) else Response(200, body=wrong)
        names = self.names(query)
        first = 0
        if "continuation-token" in query:
            first = names.index(query["continuation-token"]) + 1
        elif "start-after" in query and self.honours_start_after:
            find = bisect.bisect_left if self.inclusive else bisect.bisect_right
            first = find(names, query["start-after"])
        found = names[first : first + self.size]
        token = found[-1] if first + self.size < len(names) else None
        return Response(200, body=listing(found, token))

    def names(self, query: dict[str, str]) -> list[str]:
        """Return what the pages contain in all, in order: keys, and common prefixes."""
        if "delimiter" not in query:
            return self.keys
        start = len(query.get("prefix", ""))
        ends = [key.find("/", start) + 1 or len(key) for key in self.keys]
        return [*dict.fromkeys(key[:end] for key, end in zip(self.keys, ends, strict=True))]


def filesystem(server: ScriptedServer, **options: Any) -> opendalfs.S3FileSystem:
    options = {"key": "k", "secret": "s", "retries": 0, **options}
    options |= {"region": "us-east-1", "endpoint_url": server.endpoint}
    return opendalfs.S3FileSystem(**options, use_listings_cache=False, skip_instance_cache=True)


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


MIXED = [
    *(f"d/a{number:04}" for number in range(900)),
    *(f"d/b{number:04}{'/x' * (number % 2)}" for number in range(1_400)),
]
"""900 files, then 700 files and 700 directories by turns."""

MANY = [*MIXED, *(f"d/c{n:05}" for n in range(4_000)), *(f"d/d{n:05}/x" for n in range(600))]
"""These, then files, then directories."""

MIXED_NAMES = [f"lake/{name.removesuffix('/x')}" for name in MIXED]
EXPIRED = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>It has expired.</Message></Error>"


REFUSAL = Response(400, body=EXPIRED)


def refuse(*numbers: int, response: Response = REFUSAL) -> Callable[[dict[str, str]], Response | None]:
    """Answer some requests, counted from 1, with an error: by default of expired credentials."""
    requests: list[dict[str, str]] = []

    def wrong(query: dict[str, str]) -> Response | None:
        requests.append(query)
        return response if len(requests) in numbers else None

    return wrong


@pytest.mark.parametrize("size", [100, 900, PAGE])
def test_a_page_that_fails_among_directories_loses_no_entry(size: int) -> None:
    # A page of the server holds its directories first, so that neither its keys nor ours are in order.
    with ScriptedServer(lists := Lists(MIXED, refuse(3, response=Response(500)), size)) as server:
        fs = filesystem(server, retries=3, retry_min_delay=0.001)
        assert fs.ls("lake/d", detail=False) == MIXED_NAMES
    assert lists.asked <= -(-len(MIXED) // size) + 1


class Provider:
    """Returns new credentials each time."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> tuple[dict[str, str], None]:
        self.count += 1
        return {"key": "k", "secret": "s", "token": f"t{self.count}"}, None


def renewing(server: ScriptedServer, provider: Provider) -> opendalfs.S3FileSystem:
    return filesystem(server, key=None, secret=None, credential_provider=provider)


@pytest.mark.parametrize(("size", "later"), [(100, 14), (900, 4), (PAGE, 3)])
@pytest.mark.parametrize("call", ["find", "ls"])
def test_credentials_that_expire_within_a_list_lose_no_entry(call: str, size: int, later: int) -> None:
    provider = Provider()
    with ScriptedServer(Lists(MIXED, refuse(1, later), size)) as server:
        fs = renewing(server, provider)
        found = fs.ls("lake/d", detail=False) if call == "ls" else fs.find("lake/d")
    assert found == (MIXED_NAMES if call == "ls" else [f"lake/{key}" for key in MIXED])
    assert provider.count == 3


def test_an_empty_list_that_was_refused_first_is_empty() -> None:
    with ScriptedServer(Lists([], refuse(1))) as server:
        assert renewing(server, Provider()).find("lake/d") == []


def test_a_page_that_is_refused_with_all_credentials_is_an_error() -> None:
    def second_page(query: dict[str, str]) -> Response | None:
        return REFUSAL if {"continuation-token", "start-after"} & query.keys() else None

    provider = Provider()
    server = ScriptedServer(lists := Lists(KEYS, second_page))
    with server, pytest.raises(PermissionError, match="expired"):
        renewing(server, provider).ls("lake/d")
    assert provider.count == 2
    assert lists.asked == 3


@pytest.mark.parametrize(("size", "most"), [(100, 14), (900, 2), (PAGE, 2)])
def test_credentials_that_expire_again_and_again_lose_no_entry(size: int, most: int) -> None:
    lists = Lists(MANY, lambda query: None, size)
    uses = Counter[str]()

    def respond(request: Request) -> Response:
        token = request.headers["x-amz-security-token"]
        uses[token] += 1
        return REFUSAL if uses[token] > most else lists(request)

    with ScriptedServer(respond) as server:
        found = renewing(server, Provider()).ls("lake/d", detail=False)
    assert found == [f"lake/{key.removesuffix('/x')}" for key in MANY]
    assert len(uses) >= 4


@pytest.mark.parametrize("order", ["other", "bytes"])
def test_only_keys_in_the_order_of_their_bytes_are_listed_from_the_last_one_on(order: str) -> None:
    """Where the server sorts them otherwise, what it returns after a key is unknown."""
    starts: list[str | None] = []
    refused = refuse(3)

    def wrong(query: dict[str, str]) -> Response | None:
        starts.append(query.get("start-after"))
        return refused(query)

    lists = Lists([f"d/{number:05}" for number in range(2_400)], wrong)
    if order == "other":
        lists.keys = [*lists.keys[700:], *lists.keys[:700]]
        lists.honours_start_after = False
    with ScriptedServer(lists) as server:
        found = renewing(server, Provider()).ls("lake/d", detail=False)
    assert found == sorted(f"lake/{key}" for key in lists.keys)
    assert any(starts) == (order == "bytes")


class Versions:
    """Answers ListObjectVersions of many versions of one key."""

    def __init__(self, count: int, refused: int) -> None:
        self.count = count
        self.refused = refused
        self.asked = 0

    def __call__(self, request: Request) -> Response:
        query = dict(parse_qsl(urlsplit(request.target).query, keep_blank_values=True))
        self.asked += 1
        if self.asked == self.refused:
            return REFUSAL
        first = int(query.get("version-id-marker", "-1")) + 1
        numbers = range(first, min(first + PAGE, self.count))
        found = "".join(
            f"<Version><Key>d/k</Key><VersionId>{i}</VersionId><IsLatest>{str(i == 0).lower()}</IsLatest>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>'e'</ETag><Size>1</Size></Version>"
            for i in numbers
        )
        more = f"<NextKeyMarker>d/k</NextKeyMarker><NextVersionIdMarker>{numbers[-1]}</NextVersionIdMarker>"
        truncated = numbers.stop < self.count
        body = (
            f"<ListVersionsResult><Name>lake</Name><IsTruncated>{str(truncated).lower()}</IsTruncated>"
            f"{more * truncated}{found}</ListVersionsResult>"
        )
        return Response(200, body=body.encode())


def test_credentials_that_expire_within_a_list_of_versions_lose_none() -> None:
    with ScriptedServer(versions := Versions(2_500, refused=2)) as server:
        found = renewing(server, Provider()).object_version_info("lake/d/k")
    assert sorted(int(version["VersionId"]) for version in found) == list(range(2_500))
    assert versions.asked == 5


def test_a_list_that_is_continued_passes_a_page_of_known_names() -> None:
    failed: list[str] = []

    def second_page_fails_once(query: dict[str, str]) -> bytes | None:
        if "continuation-token" in query and not failed:
            failed.append(query["continuation-token"])
            return ERROR
        return None

    # Its first page ends with the file, which comes before the directories; GCS lists it once more.
    keys = ["d/a", *(f"d/b{number:04}/x" for number in range(1_500))]
    with ScriptedServer(Lists(keys, second_page_fails_once, inclusive=True)) as server:
        found = filesystem(server).ls("lake/d", detail=False)
    assert failed
    assert found == [f"lake/{key.removesuffix('/x')}" for key in keys]


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


DENIED = "d/denied/"


def deny(query: dict[str, str]) -> Response | None:
    """Answer lists of one subdirectory with status 403; a recursive list of the whole is denied too."""
    denied = query["prefix"] == f"{DENIED}" or "delimiter" not in query
    return Response(403) if denied else None


@pytest.mark.parametrize("topdown", [True, False])
@pytest.mark.parametrize("maxdepth", [None, 5])
def test_walk_treats_the_error_of_a_subdirectory_as_it_is_told(maxdepth: int | None, topdown: bool) -> None:
    with ScriptedServer(Lists(["d/denied/x", "d/e/f/y", "d/z"], deny)) as server:
        fs = filesystem(server)
        how: dict[str, Any] = {"maxdepth": maxdepth, "topdown": topdown}
        with pytest.raises(PermissionError):
            list(fs.walk("lake/d", **how))
        with pytest.raises(PermissionError):
            list(fs.walk("lake/d", on_error="raise", **how))
        rest = [("lake/d/e", ["f"], []), ("lake/d/e/f", [], ["y"])][:: 1 if topdown else -1]
        below = [("lake/d/denied", [], []), *rest]
        top = ("lake/d", ["denied", "e"], ["z"])
        whole = [top, *below] if topdown else [*below, top]
        assert list(fs.walk("lake/d", on_error="omit", **how)) == whole
        errors: list[OSError] = []
        assert list(fs.walk("lake/d", on_error=errors.append, **how)) == whole
        assert [error.filename for error in errors] == ["lake/d/denied"]


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


def test_a_server_that_does_not_know_start_after_ends_a_list_whose_last_key_is_not_its_greatest() -> None:
    lists = Lists(["d/a", *(f"d/b{number:04}/x" for number in range(PAGE - 1))], never)
    lists.honours_start_after = False
    with ScriptedServer(lists) as server:
        assert len(filesystem(server).ls("lake/d")) == PAGE
    assert lists.asked == 2


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
