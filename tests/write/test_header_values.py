"""Texts of a write that a header cannot hold are errors: OpenDAL would panic, or another text be stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import Response, ScriptedServer

SERVICES: dict[str, dict[str, Any]] = {
    "s3": {"key": "k", "secret": "s", "region": "x"},
    "oss": {"key": "k", "secret": "s", "addressing_style": "path"},
    "azblob": {"account_name": "a", "account_key": "YQ=="},
    "gcs": {"anon": True},
}
BROKEN: list[dict[str, Any]] = [
    {"content_type": "a/b\r\nx-amz-acl: public-read"},
    {"metadata": {"who": "me\nx-amz-acl: public-read"}},
    {"metadata": {"who\r\nx": "me"}},
    {"metadata": {"Who": "me", "who": "you"}},
]
NOT_ASCII: list[dict[str, Any]] = [
    {"content_type": " "},
    {"metadata": {"who": "J\u00fcrgen"}},
    {"metadata": {"wh\u00f6": "me"}},
    {"metadata": {"w ho": "me"}},
    {"metadata": {"who": " me"}},
]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda _: Response(200, {"ETag": '"x"', "Content-Length": "0"})) as server:
        yield server


@pytest.mark.parametrize("scheme", SERVICES)
def test_a_text_that_a_header_cannot_hold_is_an_error_before_anything_is_sent(
    scheme: str, server: ScriptedServer
) -> None:
    fs: Any = opendalfs.filesystem(
        scheme, endpoint=server.endpoint, skip_instance_cache=True, **SERVICES[scheme]
    )
    for options in BROKEN if scheme == "gcs" else BROKEN + NOT_ASCII:
        with pytest.raises(OptionError, match=r"^\[?invalid |keys of metadata differ only in case"):
            fs.pipe_file("lake/key", b"x", **options)
        if fs.service.signs:
            with pytest.raises(OptionError):
                fs.sign("lake/key", method="PUT", **options)
    assert server.requests == []


def test_a_store_in_this_process_keeps_any_text() -> None:
    fs = opendalfs.filesystem("memory", skip_instance_cache=True)
    fs.pipe_file("headers/a", b"x", content_type=" J\u00fcrgen\n")
    assert fs.info("headers/a")["ContentType"] == " J\u00fcrgen\n"
