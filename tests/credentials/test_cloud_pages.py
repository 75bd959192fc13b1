"""Every block of the pages in docs/clouds runs, on a server that stands in for the cloud.

A proxy receives each request under the name of the cloud's host, and passes it on. SeaweedFS checks the
signature. moto does not, and takes requests of OSS and COS as those of S3.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.testing import Azurite, GcsEmulator, Moto, Request, Response, S3Server, ScriptedServer
from tests.code_blocks import code_blocks
from tests.credentials.sent_requests import first_request, setenv

FOLDER = Path(__file__).parents[2] / "docs" / "clouds"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md"))
FILES = ("orders.parquet", "orders/1.parquet")
BUCKETS = ("my-bucket", "my-bucket-1250000000")
STORES = ("r2.cloudflarestorage.com", "minio.example.com:9000", "wasabisys.com", "backblazeb2.com")

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
)

RUN_BLOCKS = """
import json, sys
import duckdb
for block in json.load(sys.stdin):
    for name in duckdb.list_filesystems():
        duckdb.unregister_filesystem(name)
    try:
        exec(compile(block, "block", "exec"), {"__name__": "block"})
    except BaseException:
        print(block, file=sys.stderr)
        raise
"""


def blocks(page: str) -> list[str]:
    return code_blocks(FOLDER / f"{page}.md")


class Clouds:
    """A proxy that answers for the hosts of clouds.

    Attributes
    ----------
    seen : dict
        The requests to each host: method, path, authorization.
    """

    def __init__(self, s3: S3Server, moto: Moto, gcs: GcsEmulator) -> None:
        self.seen: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        self._s3, self._moto, self._gcs = s3, moto, gcs

    def respond(self, request: Request) -> Response:
        parts = urlsplit(request.target)
        host, path = parts.netloc, parts.path + (f"?{parts.query}" if parts.query else "")
        authorization = request.headers.get("authorization", "")
        self.seen[host].append((request.method, path, authorization))
        request.target = path
        if host.endswith(STORES) or ("goog" in host and authorization.startswith("AWS4")):
            return request.forward(self._s3.endpoint)
        if "goog" in host:
            return request.forward(self._gcs.endpoint)
        bucket = re.match(r"(my-bucket[^.]*)\.(oss|cos)", host)
        if bucket:
            request.target = f"/{bucket[1]}{path}"
        # moto reads the service and the account from these.
        own = {"host": urlsplit(self._moto.endpoint).netloc, "authorization": AUTHORIZATION}
        request.headers = {**request.headers, **own}
        return request.forward(self._moto.endpoint)


@pytest.fixture(scope="module")
def clouds(s3_server: S3Server, moto_server: Moto, gcs_server: GcsEmulator) -> Clouds:
    """Run the blocks of all pages but Azure's, one after the other, in one process."""
    found = Clouds(s3_server, moto_server, gcs_server)
    for server in (s3_server, moto_server):
        for bucket in BUCKETS:
            server.make_bucket(bucket)
        fill("s3", server.options)
    gcs_server_bucket(gcs_server, "my-bucket")
    fill("gcs", gcs_server.options)
    text = json.dumps([block for page in PAGES if page != "azure" for block in blocks(page)])
    text = text.replace("https://", "http://")
    for name, value in (("key", s3_server.access_key), ("secret", s3_server.secret_key)):
        text = re.sub(rf'(\\"{name}\\": |\b{name}=)\\"\.\.\.\\"', rf'\1\\"{value}\\"', text)
    with ScriptedServer(found.respond) as proxy:
        environment = {
            "http_proxy": proxy.endpoint,
            "no_proxy": "127.0.0.1",
            "AWS_ENDPOINT_URL": "http://s3.eu-central-1.amazonaws.com",
            "AWS_ACCESS_KEY_ID": s3_server.access_key,
            "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
            "FSSPEC_OPENDAL+GCS_ENDPOINT": "http://storage.googleapis.com",
            "FSSPEC_OPENDAL+GCS_TOKEN": "anon",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", RUN_BLOCKS],
            env={**os.environ, **environment},
            input=text,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    for bucket in BUCKETS:
        s3_server.remove_prefix("", bucket=bucket)
        s3_server.client.delete_bucket(Bucket=bucket)
    assert done.returncode == 0, done.stderr
    return found


def fill(scheme: str, options: dict[str, Any]) -> None:
    """Write the files that the blocks read."""
    lake = opendalfs.arrow(scheme, **options)
    for bucket in BUCKETS if scheme == "s3" else BUCKETS[:1]:
        for name in FILES:
            pq.write_table(pa.table({"o_orderkey": [1, 2, 3]}), f"{bucket}/{name}", filesystem=lake)


def gcs_server_bucket(server: GcsEmulator, name: str) -> None:
    import urllib.request

    request = urllib.request.Request(
        f"{server.endpoint}/storage/v1/b?project=p",
        json.dumps({"name": name}).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()


@pytest.mark.parametrize(
    ("host", "path", "scope"),
    [
        ("s3.eu-central-1.amazonaws.com", "/my-bucket", "eu-central-1/s3"),
        ("0123456789abcdef.r2.cloudflarestorage.com", "/my-bucket", "auto/s3"),
        ("minio.example.com:9000", "/my-bucket", "us-east-1/s3"),
        ("s3.eu-central-1.wasabisys.com", "/my-bucket", "eu-central-1/s3"),
        ("s3.us-west-004.backblazeb2.com", "/my-bucket", "us-west-004/s3"),
        ("storage.googleapis.com", "/my-bucket", "auto/s3"),
        ("storage.googleapis.com", "/storage/v1/b/my-bucket", None),
        ("my-bucket.oss-cn-hangzhou.aliyuncs.com", "/", "OSS "),
        ("my-bucket-1250000000.cos.ap-guangzhou.myqcloud.com", "/", "q-sign-algorithm"),
    ],
)
def test_the_blocks_run_and_ask_the_host_of_the_cloud(
    clouds: Clouds, host: str, path: str, scope: str | None
) -> None:
    assert any(
        there.startswith(path) and (scope in authorization if scope else not authorization)
        for _, there, authorization in clouds.seen[host]
    ), clouds.seen[host]


def test_the_blocks_ask_no_other_host(clouds: Clouds) -> None:
    assert len(clouds.seen) == 8, list(clouds.seen)


def test_every_engine_reads_on_every_page() -> None:
    for page in PAGES:
        text = "".join(blocks(page))
        for name in ("opendalfs.arrow(", "opendalfs.duckdb(", "opendalfs.polars(", "pipe_file("):
            assert name in text, page


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_what_a_newcomer_needs(page: str) -> None:
    headings = re.findall(r"^## (.*)$", (FOLDER / f"{page}.md").read_text(), re.MULTILINE)
    assert {"Common errors", "What was tried"} <= set(headings)
    if page != "s3-compatible":
        assert headings[:4] == ["Install", "Credentials", "First read", "Write"]


def test_the_bucket_is_in_the_host_for_virtual_addressing() -> None:
    (style,) = re.findall(r"`config_kwargs=(\{.*?\}\})`", (FOLDER / "s3-compatible.md").read_text())
    options = {"endpoint_url": "https://store.test", "region": "x", "key": "k", "secret": "s"}
    fs = opendalfs.filesystem("s3", config_kwargs=ast.literal_eval(style), **options)
    assert fs.sign("my-bucket/key").startswith("https://my-bucket.store.test/key?")


# S3 Express


def literal_options(block: str, function: str) -> tuple[str, dict[str, Any]]:
    """Return the service and the options of the call of a function in a block."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
            options = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
            return ast.literal_eval(node.args[0]), options
    raise AssertionError(f"no call of {function}")


@pytest.mark.usefixtures("files")
def test_a_directory_bucket_has_its_zonal_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = code_blocks(FOLDER / "aws.md", "python no-run")
    scheme, options = literal_options(block, "opendalfs.filesystem")
    setenv(monkeypatch, {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"})
    bucket = re.findall(r'"([\w-]+--x-s3)/', block)[0]
    url = opendalfs.filesystem(scheme, **options).sign(f"{bucket}/data.bin")
    assert url.startswith(f"https://{bucket}.s3express-use1-az4.us-east-1.amazonaws.com/data.bin?")
    assert "us-east-1%2Fs3express%2F" in url


# Azure


@pytest.mark.usefixtures("files")
def test_the_options_of_azure_sign_for_the_container(capture: ScriptedServer) -> None:
    for block in blocks("azure"):
        if "opendalfs.filesystem(" not in block:
            continue
        scheme, options = literal_options(block, "opendalfs.filesystem")
        native = opendalfs.filesystem(scheme, **options).native
        assert native["endpoint"] == "https://myaccount.blob.core.windows.net"
        request = first_request(capture, scheme, endpoint=capture.endpoint, **options)
        assert request.target.startswith("/lake/key")
        signed = request.headers.get("authorization", "")
        assert signed.startswith("SharedKey myaccount:") != options.get("anon", False)
        capture.requests.clear()


def test_the_blocks_of_azure_run(azure_server: Azurite) -> None:
    lake = opendalfs.arrow("azblob", **azure_server.options)
    for name in FILES:
        pq.write_table(pa.table({"o_orderkey": [1, 2, 3]}), f"{azure_server.bucket}/{name}", filesystem=lake)
    text = json.dumps([block for block in blocks("azure") if "anon=True" not in block])
    for name, value in (
        ("myaccount", azure_server.account_name),
        ("bXkta2V5", azure_server.account_key),
        ("my-container", azure_server.bucket),
    ):
        text = text.replace(name, value)
    done = subprocess.run(
        [sys.executable, "-c", RUN_BLOCKS],
        env={**os.environ, "FSSPEC_OPENDAL+AZBLOB_ENDPOINT": azure_server.options["endpoint"]},
        input=text,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
