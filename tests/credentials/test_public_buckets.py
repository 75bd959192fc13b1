"""Public buckets and requester pays: what is sent with one option."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import Request, Response, ScriptedServer
from tests.credentials.sent_requests import setenv

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "ENVKEY",
    "AWS_SECRET_ACCESS_KEY": "env-secret",
    "AWS_SESSION_TOKEN": "env-token",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "ENVKEY",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "env-secret",
    "AZURE_STORAGE_ACCOUNT_NAME": "ENVKEY",
    "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"env-secret").decode(),
    "AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=env-token",
    "GOOGLE_APPLICATION_CREDENTIALS": "/env-secret.json",
}
SIGNED = re.compile(r"authorization|signature|[?&]sig=|x-amz-security-token|envkey|env-", re.IGNORECASE)

CALLS: dict[str, Callable[[Any], object]] = {
    "info": lambda fs: fs.info("lake/key"),
    "ls": lambda fs: fs.ls("lake/folder"),
    "find": lambda fs: fs.find("lake/folder"),
    "cat": lambda fs: fs.cat_file("lake/key"),
    "cat a range": lambda fs: fs.cat_file("lake/key", start=1, end=2),
    "pipe": lambda fs: fs.pipe_file("lake/key", b"x"),
    "pipe parts": lambda fs: fs.pipe_file("lake/key", bytes(5 * 2**20 + 1), chunksize=4 * 2**20),
    "cp": lambda fs: fs.cp_file("lake/key", "lake/copy"),
    "rm": lambda fs: fs.rm_file("lake/key"),
    "rm a tree": lambda fs: fs.rm("lake/tree", recursive=True),
}

EMPTY = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
ENTRY = (
    b"<Contents><Key>tree/%d</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size></Contents>"
)
TREE = EMPTY.replace(b"</IsTruncated>", b"</IsTruncated>" + ENTRY % 1 + ENTRY % 2)
UPLOADS = (
    b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>key</Key><UploadId>u</UploadId>"
    b"<Initiated>2026-01-01T00:00:00Z</Initiated></Upload></ListMultipartUploadsResult>"
)


def respond(request: Request) -> Response:
    """Respond as a store whose objects all exist, and whose listings are empty but for one tree."""
    if "uploads" in request.target and request.method == "GET":
        return Response(200, {"Date": "Thu, 26 Nov 2026 00:00:00 GMT"}, UPLOADS)
    if request.target.endswith("uploads"):
        return Response(200, {}, b"<R><UploadId>u</UploadId></R>")
    if "x-amz-copy-source" in request.headers:
        return Response(200, {}, b'<CopyObjectResult><ETag>"x"</ETag></CopyObjectResult>')
    if "uploadId" in request.target and request.method == "POST":
        return Response(200, {}, b"<R><ETag>x</ETag></R>")
    if "list-type" in request.target:
        return Response(200, {}, TREE if "prefix=tree" in request.target else EMPTY)
    return Response(204 if request.method == "DELETE" else 200, {"ETag": '"x"', "Content-Length": "0"})


def run_all(fs: Any) -> None:
    for call in CALLS.values():
        # The response is that of no real service.
        with suppress(OSError):
            call(fs)


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("s3", {}),
        ("gcs", {}),
        ("azblob", {"account_name": "public"}),
        ("oss", {"addressing_style": "path"}),
    ],
)
@pytest.mark.usefixtures("files")
def test_anon_signs_no_request_and_uses_no_credentials_of_the_environment(
    scheme: str, options: dict[str, Any], capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    setenv(monkeypatch, {**CREDENTIALS, "GCE_METADATA_HOST": capture.host})
    capture.respond = respond
    fs = opendalfs.filesystem(
        scheme,
        anon=True,
        endpoint=capture.endpoint,
        retries=0,
        timeout=10,
        skip_instance_cache=True,
        **options,
    )
    run_all(fs)
    assert {"GET", "PUT"} <= {request.method for request in capture.requests}
    for request in capture.requests:
        assert not SIGNED.search(request.text), request.text
        assert "computeMetadata" not in request.target


@pytest.mark.usefixtures("files")
def test_every_request_says_that_the_requester_pays(capture: ScriptedServer) -> None:
    capture.respond = respond
    fs = opendalfs.filesystem(
        "s3",
        requester_pays=True,
        endpoint_url=capture.endpoint,
        key="k",
        secret="s",
        region="x",
        retries=0,
        skip_instance_cache=True,
    )
    run_all(fs)
    assert fs.clear_uploads("lake/key") == ["lake/key"]
    assert {request.method for request in capture.requests} == {"GET", "HEAD", "PUT", "POST", "DELETE"}
    for part in ("?delete", "?uploads", "partNumber=1", "uploadId=u"):
        assert any(part in request.target for request in capture.requests), part
    for request in capture.requests:
        assert request.headers["x-amz-request-payer"] == "requester", request.text
        assert "x-amz-request-payer" in request.headers["authorization"]


@pytest.mark.parametrize("scheme", ["gcs", "azblob", "oss"])
def test_requester_pays_is_an_error_where_opendal_cannot_send_it(scheme: str) -> None:
    with pytest.raises(OptionError, match=f"{scheme} has no option 'requester_pays'"):
        opendalfs.filesystem(scheme, requester_pays=True)
