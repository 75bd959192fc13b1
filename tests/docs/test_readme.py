"""README: the blocks for an own S3 server run, and each message of the table is what its tool says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import fsspec
import polars as pl
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs import installation
from opendalfs.testing import S3Server

README = (Path(__file__).parents[2] / "README.md").read_text()
URL = "opendal+s3://my-bucket/orders.parquet"


# An own S3 server


def own_server(server: S3Server, bucket: str) -> str:
    """Return the part about an own server, with the endpoint, the keys and a bucket of a running one."""
    text = README.partition("test_readme.py runs the blocks from here")[2].partition("<!-- to here -->")[0]
    text = text.replace("http://127.0.0.1:9000", server.endpoint).replace("my-bucket", bucket)
    for name, key in (("key", server.access_key), ("secret", server.secret_key)):
        text = text.replace(f'"{name}": "minioadmin"', f'"{name}": "{key}"')
    text = text.replace("ACCESS_KEY_ID=minioadmin", f"ACCESS_KEY_ID={server.access_key}")
    return text.replace("ACCESS_KEY=minioadmin", f"ACCESS_KEY={server.secret_key}")


def test_the_blocks_for_an_own_s3_server_run_with_options_and_with_the_environment(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = f"readme-{uuid4().hex}"
    text = own_server(s3_server, bucket)
    with_options, with_environment = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    s3_server.make_bucket(bucket)
    try:
        exec(with_options, {})
        for name, value in re.findall(r"^export (\w+)=(.*)$", text, re.MULTILINE):
            monkeypatch.setenv(name, value)
        exec(with_environment, {})
    finally:
        s3_server.remove_prefix("", bucket=bucket)
        s3_server.client.delete_bucket(Bucket=bucket)
    assert capsys.readouterr().out.splitlines() == [f"['{bucket}/hello.txt']", "3"]


# When it goes wrong


def rows() -> list[str]:
    """Return the messages of the table."""
    table = README.partition("### When it goes wrong")[2].partition("\n### ")[0]
    return re.findall(r"^\| .*?`(.*?)` \|", table, re.MULTILINE)


def other_package(folder: Path) -> str:
    """Import the package of PyPI, of which this is a stand-in, and use ours."""
    (folder / "opendalfs").mkdir()
    (folder / "opendalfs" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import opendalfs; opendalfs.arrow"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    return done.stderr


def mixed_package(folder: Path) -> None:
    metadata = folder / "opendalfs-9.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: opendalfs\nVersion: 9.9\n")
    sys.path.insert(0, str(folder))
    try:
        with pytest.warns(RuntimeWarning) as caught:
            installation.check()
        raise ImportError(str(caught[0].message))
    finally:
        sys.path.remove(str(folder))


def without_pyarrow(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        opendalfs.arrow()


def sink_without_hooks(folder: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pl.LazyFrame({"a": [1]}).sink_parquet("opendal+s3://my-bucket/a.parquet", mkdir=True)
    return " ".join(path.name for path in folder.iterdir())


def no_credentials(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        options = {"endpoint_url": "http://127.0.0.1:9", "region": "x", "retry_timeout": 0}
        return opendalfs.filesystem("s3", **options).info("my-bucket/key")


LOCAL: dict[str, Callable[[Path], Any]] = {
    "Unrecognized filesystem type in URI: opendal+": lambda _: pq.read_table(URL),
    'No files found that match the pattern "opendal+': lambda _: duckdb.connect().sql(f"FROM '{URL}'"),
    'Cannot open file "opendal+': lambda _: duckdb.connect().sql(f"COPY (SELECT 1) TO '{URL}'"),
    "No such file or directory (os error 2): opendal+": lambda _: pl.scan_parquet(URL).collect(),
    "expanded paths were empty": lambda _: pl.scan_parquet("opendal+s3://b/*.parquet").collect(),
    "opendal+s3:": sink_without_hooks,
    "Protocol not known: opendal+": lambda _: fsspec.filesystem("opendal+s33"),
    "module 'opendalfs' has no attribute": other_package,
    "another package named opendalfs": mixed_package,
    "opendalfs.arrow() needs pyarrow": without_pyarrow,
    "No usable credentials": no_credentials,
}
"""What causes each message: an exception with it, or a text."""

ON_A_SERVER: dict[str, tuple[dict[str, str], str]] = {
    "Access denied": ({"secret": "wrong"}, "{bucket}/key"),
    "Cannot reach the server": ({"endpoint_url": "http://127.0.0.1:9"}, "{bucket}/key"),
    "does not use TLS at this port": ({"endpoint_url": "https"}, "{bucket}/key"),
    "No such bucket or container": ({}, "no-such-bucket-here/key"),
}
"""Options that cause a message of opendalfs on an S3 server, and the path."""


def test_each_message_of_the_table_is_provoked() -> None:
    assert sorted(rows()) == sorted([*LOCAL, *ON_A_SERVER])


@pytest.mark.parametrize("message", LOCAL)
def test_a_message_of_the_table_appears_without_the_missing_line(message: str, tmp_path: Path) -> None:
    try:
        found = str(LOCAL[message](tmp_path))
    except Exception as exc:
        found = str(exc)
    assert message in found


@pytest.mark.parametrize("message", ON_A_SERVER)
def test_a_message_of_the_table_appears_with_a_wrong_option(message: str, s3_server: S3Server) -> None:
    wrong, path = ON_A_SERVER[message]
    options = {**s3_server.options, **wrong, "retry_timeout": 0}
    if options["endpoint_url"] == "https":
        options["endpoint_url"] = s3_server.endpoint.replace("http://", "https://")
    with pytest.raises(OSError, match=re.escape(message)):
        opendalfs.filesystem("s3", **options).ls(path.format(bucket=s3_server.bucket))
