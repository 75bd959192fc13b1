"""`clear_uploads`: what killed writers left is removed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.storage.unfinished_uploads import lifecycle_rule
from opendalfs.testing import Response, S3Server, ScriptedServer
from opendalfs.testing.scripted_server import Request

PART = bytes(5 << 20)


def leave_upload(server: S3Server, path: str) -> str:
    """Begin an upload that nobody ends, and return its number."""
    bucket, _, key = path.partition("/")
    upload: str = server.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    server.client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=PART)
    return upload


def uploads(server: S3Server, prefix: str) -> list[str]:
    bucket, _, key = prefix.partition("/")
    found = server.client.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", [])
    return sorted(f"{bucket}/{upload['Key']}" for upload in found)


@pytest.fixture
def fs(s3_server: S3Server) -> opendalfs.OpendalFileSystem:
    return opendalfs.filesystem("s3", **s3_server.options)


def test_unfinished_uploads_below_a_directory_are_aborted(
    s3_server: S3Server, fs: opendalfs.OpendalFileSystem, prefix: str
) -> None:
    fs.pipe_file(f"{prefix}/d/a", b"old")
    for name in ("d/a", "d/e/b", "dd", "d"):
        leave_upload(s3_server, f"{prefix}/{name}")
    aborted = fs.clear_uploads(f"{prefix}/d", older_than=0)
    assert sorted(aborted) == [f"{prefix}/d", f"{prefix}/d/a", f"{prefix}/d/e/b"]
    assert uploads(s3_server, prefix) == [f"{prefix}/dd"]
    assert fs.cat_file(f"{prefix}/d/a") == b"old"
    assert fs.clear_multipart_uploads(prefix) == [f"{prefix}/dd"]
    assert uploads(s3_server, prefix) == []


def test_an_upload_of_a_live_writer_stays_by_default(
    s3_server: S3Server, fs: opendalfs.OpendalFileSystem, prefix: str
) -> None:
    with fs.open(f"{prefix}/a", "wb", block_size=5 << 20) as file:
        file.write(PART * 2)
        assert fs.clear_uploads(prefix) == []
    assert fs.info(f"{prefix}/a")["size"] == 2 * len(PART)


def test_a_discarded_write_is_cleared(
    s3_server: S3Server, fs: opendalfs.OpendalFileSystem, prefix: str
) -> None:
    file = fs.open(f"{prefix}/a", "wb", block_size=5 << 20)
    file.write(PART * 2)
    file.discard()
    assert fs.clear_uploads(f"{prefix}/a", older_than=0) == [f"{prefix}/a"]
    assert uploads(s3_server, prefix) == []


async def test_coroutines_clear_uploads_of_an_operator_with_a_root(s3_server: S3Server, prefix: str) -> None:
    bucket, _, root = prefix.partition("/")
    leave_upload(s3_server, f"{prefix}/d/a")
    leave_upload(s3_server, f"{prefix}/e")
    operator = opendalfs.OpendalFileSystem("s3", bucket=bucket, root=f"/{root}", **s3_server.options)
    assert await operator._clear_uploads("d", older_than=0) == ["d/a"]
    assert uploads(s3_server, prefix) == [f"{prefix}/e"]


def test_errors_of_the_server_are_os_errors(s3_server: S3Server, fs: opendalfs.OpendalFileSystem) -> None:
    with pytest.raises(FileNotFoundError):
        fs.clear_uploads("no-such-bucket-here", older_than=0)
    wrong = opendalfs.filesystem("s3", **{**s3_server.options, "secret": "wrong"})
    with pytest.raises(PermissionError) as info:
        wrong.clear_uploads(s3_server.bucket)
    assert "wrong" not in str(info.value)


def test_only_the_credentials_of_the_options_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "other-token")
    empty = b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
    date = {"Date": "Thu, 26 Nov 2026 00:00:00 GMT"}

    def clear(**options: Any) -> Request:
        with ScriptedServer(lambda _: Response(200, date, empty)) as server:
            fs = opendalfs.filesystem("s3", endpoint_url=server.endpoint, **options)
            assert fs.clear_uploads("b") == []
            return server.requests[-1]

    signed = clear(key="OURS", secret="s", region="eu-central-1")
    assert "Credential=OURS/" in signed.headers["authorization"]
    assert "eu-central-1" in signed.headers["authorization"]
    assert "x-amz-security-token" not in signed.headers
    assert "authorization" not in clear(anon=True).headers


def test_a_role_is_not_assumed() -> None:
    fs = opendalfs.filesystem("s3", role_arn="arn:aws:iam::1:role/r", region="eu-central-1")
    with pytest.raises(opendalfs.OptionError, match="pass key="):
        fs.clear_uploads("b")


@pytest.mark.parametrize(
    ("service", "options", "expected"),
    [
        ("gcs", {"anon": True}, "gcloud storage buckets update gs://b --lifecycle-file"),
        ("oss", {"endpoint": "http://127.0.0.1:9"}, "ossutil api put-bucket-lifecycle --bucket b "),
        ("azblob", {"account_name": "x", "anon": True}, "Azure removes uncommitted blocks after a week"),
        ("webdav", {"endpoint": "http://127.0.0.1:9"}, "use its own tools"),
    ],
)
def test_other_services_name_the_rule_to_set(service: str, options: dict[str, Any], expected: str) -> None:
    fs = opendalfs.filesystem(service, **options)
    with pytest.raises(opendalfs.UnsupportedError) as info:
        fs.clear_uploads("b")
    assert expected in str(info.value)


def test_the_rule_for_s3_is_what_botocore_accepts(moto_server: Any) -> None:
    """As the command line of AWS checks it: it passes its JSON on."""
    import json
    import shlex

    command = lifecycle_rule("s3", moto_server.bucket)
    assert command is not None
    words = shlex.split(command)
    assert words[3:5] == ["--bucket", moto_server.bucket]
    moto_server.client.put_bucket_lifecycle_configuration(
        Bucket=moto_server.bucket, LifecycleConfiguration=json.loads(words[6])
    )
    rules = moto_server.client.get_bucket_lifecycle_configuration(Bucket=moto_server.bucket)["Rules"]
    assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


@pytest.mark.parametrize("service", ["s3", "gcs", "oss", "b2"])
def test_the_page_of_interrupted_writes_has_the_same_rules(service: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "interrupted_writes.md").read_text()
    assert f"\n{lifecycle_rule(service, 'BUCKET')}\n" in page


def test_without_botocore_the_error_names_what_to_install() -> None:
    script = """
import sys
sys.modules["botocore"] = None
import opendalfs
try:
    opendalfs.filesystem("s3", key="k", secret="s", region="eu-central-1").clear_uploads("b")
except ImportError as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install botocore" in done.stdout
    assert "put-bucket-lifecycle-configuration --bucket b" in done.stdout


KILLED = """
import os, sys, opendalfs
fs = opendalfs.filesystem("fs")
files = [fs.open(path, "wb") for path in sys.argv[1:]]
for file in files:
    file.write(bytes(9 << 20))
os._exit(0)
"""


def test_staged_files_of_killed_writers_are_removed(tmp_path: Path) -> None:
    fs = opendalfs.filesystem("fs")
    paths = [f"{tmp_path}/d/a", f"{tmp_path}/d/e/b", f"{tmp_path}/c"]
    subprocess.run([sys.executable, "-c", KILLED, *paths], check=True)
    (tmp_path / "d/other.part").write_bytes(b"x")
    live = fs.open(f"{tmp_path}/d/live", "wb")
    live.write(bytes(9 << 20))
    removed = fs.clear_uploads(f"{tmp_path}/d")
    assert [Path(path).parent for path in removed] == [tmp_path / "d", tmp_path / "d/e"]
    live.close()
    assert sorted(path.name for path in (tmp_path / "d").rglob("*") if path.is_file()) == [
        "live",
        "other.part",
    ]
    assert len(fs.clear_uploads(f"{tmp_path}/c")) == 1
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []
