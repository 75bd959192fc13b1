"""The region of a bucket is the one that its server names, where no option, variable or profile does."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.storage.upload import find_region
from opendalfs.testing import Request, Response, ScriptedServer

LIST = b"<ListBucketResult><Name>lake</Name></ListBucketResult>"


@pytest.fixture
def regions(capture: ScriptedServer, files: Path) -> list[str]:
    """Answer as S3 does for a bucket of eu-west-1; return the regions that requests were signed for."""
    (files / "config").write_text("")
    seen: list[str] = []

    def respond(request: Request) -> Response:
        found = re.search(r"Credential=[^/]*/\d+/([^/]*)/", request.headers.get("authorization", ""))
        seen.append(found.group(1) if found else "")
        if seen[-1] != "eu-west-1":
            return Response(400, {"x-amz-bucket-region": "eu-west-1"}, b"")
        headers = {"ETag": '"e"', "Last-Modified": "Thu, 26 Nov 2026 00:00:00 GMT"}
        return Response(200, headers, LIST if "list-type" in request.target else b"data")

    capture.respond = respond
    return seen


def make(capture: ScriptedServer, **options: Any) -> opendalfs.S3FileSystem:
    return opendalfs.S3FileSystem(endpoint_url=capture.endpoint, skip_instance_cache=True, **options)


CALLS = {
    "read": lambda fs: fs.cat_file("lake/key"),
    "stat": lambda fs: fs.info("lake/key"),
    "list": lambda fs: fs.find("lake/folder"),
    "write": lambda fs: fs.pipe_file("lake/key", b"data"),
}


@pytest.mark.parametrize("call", CALLS)
def test_one_more_request_finds_the_region(call: str, capture: ScriptedServer, regions: list[str]) -> None:
    fs = make(capture)
    CALLS[call](fs)
    assert regions[0] == "us-east-1"
    assert set(regions[1:]) == {"eu-west-1"}
    CALLS[call](make(capture))
    assert regions.count("us-east-1") == 1


def test_a_region_that_is_given_is_kept(
    capture: ScriptedServer, regions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    CALLS["read"](make(capture))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    for options in ({}, {"region": "us-east-1"}):
        with pytest.raises(OptionError, match="in another region: pass region='eu-west-1'"):
            make(capture, **options).cat_file("lake/key")


def test_a_provider_and_a_region_are_found_together(capture: ScriptedServer, regions: list[str]) -> None:
    fs = make(capture, credential_provider=lambda: ({"key": "KEY", "secret": "s"}, None))
    assert fs.cat_file("lake/key") == b"data"
    assert regions == ["us-east-1", "eu-west-1"]
    assert "Credential=KEY/" in capture.requests[-1].headers["authorization"]


def test_a_signed_url_is_for_the_region_of_the_bucket(capture: ScriptedServer, regions: list[str]) -> None:
    fs = make(capture)
    # Without an endpoint in the options, as for AWS; the operator keeps that of this test.
    fs.locate("lake/key")[0].native.pop("endpoint")
    assert "eu-west-1" in fs.url("lake/key")
    assert regions == ["us-east-1", "eu-west-1"]
    fs.url("lake/key")
    assert len(regions) == 2


@pytest.mark.parametrize("failure", [Response(503), None])
def test_a_lookup_of_the_region_that_failed_is_made_again(
    failure: Response | None, capture: ScriptedServer, regions: list[str]
) -> None:
    respond = capture.respond
    capture.respond = lambda _: failure
    fs = make(capture, retries=0)
    fs.locate("lake/key")[0].native.pop("endpoint")
    # A URL for a region that nothing has confirmed might be refused by the server.
    with pytest.raises(OSError, match=r"Cannot find the region of the bucket.*: pass region="):
        fs.url("lake/key")
    capture.respond = respond
    assert "eu-west-1" in fs.url("lake/key")


def test_a_lookup_of_the_region_without_credentials_is_made_again(
    capture: ScriptedServer, regions: list[str]
) -> None:
    keys: list[dict[str, str]] = []
    fs = make(capture, credential_provider=lambda: (keys[0], None))
    connection = fs.locate("lake/key")[0]
    connection.native.pop("endpoint")
    asyncio.run(find_region(connection, "key"))
    with pytest.raises(PermissionError):
        fs.url("lake/key")
    keys.append({"key": "KEY", "secret": "s"})
    assert regions == []
    assert "eu-west-1" in fs.url("lake/key")


@pytest.mark.parametrize("status", [403, 404])
def test_a_denied_or_missing_file_is_enough_to_know_the_region(
    status: int, capture: ScriptedServer, regions: list[str]
) -> None:
    capture.respond = lambda _: Response(status)
    fs = make(capture, retries=0, key="k", secret="s")
    fs.locate("lake/key")[0].native.pop("endpoint")
    for _ in range(3):
        fs.url("lake/key")
    assert capture.count("HEAD") == 1
