"""The bucket that the blocks of docs/tools.md use, with the credentials in the environment."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.testing import S3Server

BUCKET = "my-bucket"
ORDERS = pa.table({"o_orderkey": [1, 2, 3], "o_comment": ["a", "b", "c"]})
CSV = b"o_orderkey\n1\n"


@pytest.fixture(scope="session", autouse=True)
def _quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tools store of their own in a directory, and let none report to its maker."""
    folder = tmp_path_factory.mktemp("tools")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(folder / "hf"))
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        patch.setenv("HF_UPDATE_DOWNLOAD_COUNTS", "0")
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        yield


@pytest.fixture
def lake(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[opendalfs.S3FileSystem]:
    """Yield a filesystem with the files that the blocks read; the working directory is an empty one."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_REGION", s3_server.region)
    monkeypatch.chdir(tmp_path)
    s3_server.make_bucket(BUCKET)
    fs = opendalfs.filesystem("s3")
    for name in ("orders.parquet", "orders/1.parquet"):
        pq.write_table(ORDERS, f"{BUCKET}/{name}", filesystem=opendalfs.arrow(fs))
    with fs.open(f"{BUCKET}/rows.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("rows.csv", CSV)
    with fs.open(f"{BUCKET}/rows.tar.gz", "wb") as file, tarfile.open(fileobj=file, mode="w|gz") as tar:
        member = tarfile.TarInfo("rows.csv")
        member.size = len(CSV)
        tar.addfile(member, io.BytesIO(CSV))
    yield fs
    s3_server.remove_prefix("", bucket=BUCKET)
    s3_server.client.delete_bucket(Bucket=BUCKET)
