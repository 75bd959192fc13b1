"""Appends to an object store, which write the object again with its metadata."""

from __future__ import annotations

from typing import Any

import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import Moto, Request, Response, ScriptedServer
from tests.write.test_object_options import OF_S3FS, MiB, head


@pytest.mark.parametrize("size", [3, 11 * MiB])
def test_an_append_keeps_the_metadata_and_takes_options(moto_server: Moto, size: int) -> None:
    moto: Any = opendalfs.S3FileSystem(**moto_server.options, skip_instance_cache=True)
    path = f"{moto_server.bucket}/options-append-{size}"
    kept = {
        name: OF_S3FS[name] for name in ("ContentType", "ContentDisposition", "ContentEncoding", "Metadata")
    }
    moto.pipe_file(path, b"x" * size, **kept)
    with moto.open(path, "ab") as file:
        file.write(b"y")
    assert moto.cat_file(path) == b"x" * size + b"y"
    assert head(moto_server, path).items() >= kept.items()
    with moto.open(path, "ab", ContentType="text/other", metadata={"new": "1"}) as file:
        file.write(b"z")
    found = head(moto_server, path)
    assert (found["ContentType"], found["Metadata"]) == ("text/other", {"new": "1"})
    assert found["ContentEncoding"] == "gzip"


def test_an_append_that_would_lose_metadata_in_parts_is_an_error() -> None:
    size = 9 * MiB

    def respond(request: Request) -> Response:
        headers = {"ETag": '"x"', "x-oss-meta-who": "me", "Content-Length": str(size)}
        if request.method == "GET":
            first, _, last = request.headers["range"].removeprefix("bytes=").partition("-")
            body = bytes(int(last) - int(first) + 1)
            return Response(206, {"ETag": '"x"', "Content-Range": f"bytes {first}-{last}/{size}"}, body)
        return Response(200, headers)

    with ScriptedServer(respond) as server:
        options = {"endpoint": server.endpoint, "key": "k", "secret": "s", "addressing_style": "path"}
        fs = opendalfs.filesystem("oss", skip_instance_cache=True, **options)
        with pytest.raises(OptionError, match="would lose user_metadata"), fs.open("lake/key", "ab") as file:
            file.write(b"y")
        assert {request.method for request in server.requests} == {"HEAD", "GET"}
