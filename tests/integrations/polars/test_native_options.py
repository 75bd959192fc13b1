"""Which of Polars' own stores a URL goes to, and with which options."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import opendalfs
import opendalfs_polars as op
from opendalfs.testing import GcsEmulator, S3Server

DATA = pl.DataFrame({"a": [1, 2, 3], "k": ["x", "y", "x"]})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and leave it empty: nothing may be written to a folder ``opendal+...``."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not [name for name in os.listdir(tmp_path) if name.startswith("opendal")]


@pytest.fixture
def lake() -> str:
    return f"opendal+memory://hooks-{os.urandom(6).hex()}"


def native(url: str, **options: Any) -> dict[str, Any]:
    found = op.target(url, options, backend="native")
    assert op.target(url, options).backend == "native"
    return {"source": str(found.source), **found.storage_options}


def reason(url: str, **options: Any) -> str:
    with pytest.raises(op.NativeBackendError) as refused:
        op.target(url, options, backend="native")
    auto = op.target(url, options)
    assert (auto.backend, auto.reason) == ("gateway", str(refused.value))
    return auto.reason


S3 = {"key": "access", "secret": "very-secret", "region": "eu-west-1"}


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_aws")
def test_s3_options_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native("opendal+s3://b/a*.parquet", **S3, token="t", endpoint_url="http://host:1/") == {
        "source": "s3://b/a*.parquet",
        "aws_region": "eu-west-1",
        "aws_endpoint_url": "http://host:1",
        "aws_allow_http": "true",
        "aws_virtual_hosted_style_request": "false",
        "aws_access_key_id": "access",
        "aws_secret_access_key": "very-secret",
        "aws_session_token": "t",
        "aws_skip_signature": "false",
    }
    assert native("opendal+s3://b/c+d/[!*a]?.csv", **S3)["source"] == r"s3://b/c[+]d/[^/\x2aa][^/].csv"
    assert op.target("opendal+s3://b/c+d/?.csv", S3, glob=False).source == "s3://b/c+d/?.csv"
    assert native("opendal+s3://b/d/", anon=True, root="/x/y/", region="r")["source"] == "s3://b/x/y/d/"
    assert native("opendal+s3://b/d", anon=True, region="r")["aws_skip_signature"] == "true"
    encrypted = native("opendal+s3://b/d", **S3, server_side_encryption="AES256")
    assert encrypted["aws_server_side_encryption"] == "AES256"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert native("opendal+s3://b/d", region="r")["aws_access_key_id"] == "from-environment"


@pytest.mark.usefixtures("no_aws")
def test_s3_options_that_would_be_lost_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "opendal+s3://b/d"
    assert "credentials" in reason(url, region="r")
    assert "role_arn" in reason(url, **S3, role="arn:x")
    assert "enable_request_payer" in reason(url, **S3, requester_pays=True)
    assert "timeouts" in reason(url, **S3, timeout=3)
    assert "AES256" in reason(url, **S3, server_side_encryption="aws:kms")
    assert "hive" in reason("opendal+s3://b/", **S3)
    assert "password" in reason(url, **S3, endpoint_url="http://user:password@host")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere")
    assert "AWS_ENDPOINT_URL" in reason(url, **S3)


IDENTITIES = {
    "s3": S3,
    "gcs": {"token": "t"},
    "azblob": {"account_name": "me", "sas_token": "sv=1&sig=x"},
    "azdls": {"account_name": "me", "client_id": "i", "client_secret": "s", "tenant_id": "t"},
}


@pytest.mark.usefixtures("no_aws")
@pytest.mark.parametrize(
    ("service", "variable"),
    [
        ("s3", "AWS_TOKEN"),
        ("s3", "AWS_SESSION_TOKEN"),
        ("gcs", "GOOGLE_BEARER_TOKEN"),
        ("gcs", "GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("azblob", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("azblob", "AZURE_SKIP_SIGNATURE"),
        ("azdls", "AZURE_FEDERATED_TOKEN_FILE"),
        ("azdls", "AZURE_AUTHORITY_HOST"),
    ],
)
def test_what_polars_would_take_from_the_environment_is_refused(
    service: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a key there before a SAS token that is given, for one."""
    url = f"opendal+{service}://b/d"
    native(url, **IDENTITIES[service])
    monkeypatch.setenv(variable, "x")
    assert "environment" in reason(url, **IDENTITIES[service])


def test_other_services_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    key = base64.b64encode(b'{"type": "service_account"}').decode()
    gcs = native("opendal+gcs://b/a", credential=key)
    assert gcs == {"source": "gs://b/a", "google_service_account_key": '{"type": "service_account"}'}
    azure = {"account_name": "me", "account_key": "a2V5"}
    assert native("opendal+azblob://c/a", **azure) == {
        "source": "az://c/a",
        "azure_storage_account_name": "me",
        "azure_storage_account_key": "a2V5",
    }
    assert native("opendal+azdls://c/a", **azure)["source"] == "abfss://c/a"
    assert (
        native("opendal+hf://datasets/o/n@main/d/*.parquet")["source"] == "hf://datasets/o/n@main/d/*.parquet"
    )
    assert native("opendal+fs:///tmp/a+b/?*.csv") == {"source": "/tmp/a+b/?*.csv"}
    assert native("opendal+https://host/d/a.csv") == {"source": "https://host/d/a.csv"}
    assert "user and password" in reason("opendal+http://host/a", endpoint="http://me:secret@host")
    assert "username" in reason("opendal+http://host/a", username="me", password="p")
    for key in ("50%.csv", "a%20b.csv", "a#b.csv", "*.csv"):
        assert "over HTTP" in reason(f"opendal+http://host/{key}")
    assert "no native store for webdav" in reason("opendal+webdav://host/a")
    assert "datasets and spaces" in reason("opendal+hf://o/n/a.parquet")
    assert "Azure" in reason("opendal+azblob://c/a", **azure, endpoint="http://127.0.0.1:10000/me")


def test_gcs_elsewhere_goes_through_the_gateway(gcs_server: GcsEmulator) -> None:
    options = gcs_server.options
    name = f"{gcs_server.bucket}/{os.urandom(6).hex()}.csv"
    opendalfs.filesystem("gcs", **options).pipe_file(name, b"a\n1\n")
    assert "different APIs" in op.target(f"opendal+gcs://{name}", options).reason
    assert op.read_csv(f"opendal+gcs://{name}", storage_options=options).item() == 1


def test_sinks_go_through_the_gateway_unless_asked(tmp_path: Path) -> None:
    assert op.target(f"opendal+fs://{tmp_path}/a.csv", write=True).backend == "gateway"
    assert op.target("opendal+s3://b/a.csv", S3, write=True).backend == "gateway"
    with pytest.raises(op.NativeBackendError, match="incomplete file"):
        op.target(f"opendal+fs://{tmp_path}/a.csv", backend="native", write=True)


def test_urls_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="one service"):
        op.target(["opendal+memory://a/b", "opendal+s3://a/b"])
    with pytest.raises(ValueError, match="one service"):
        op.target(["opendal+webdav://a/b", "opendal+webdav://c/b"])
    with pytest.raises(ValueError, match="no URL"):
        op.target([])
    with pytest.raises(ValueError, match="not an opendalfs URL"):
        op.target("s3://b/a")
    with pytest.raises(ValueError, match="cannot be reached"):
        op.target("opendal+memory://a//b")


def test_containers_of_a_list_may_differ(lake: str) -> None:
    other = f"{lake}-other"
    op.write_csv(DATA, f"{lake}/a.csv")
    op.write_csv(DATA, f"{other}/a.csv")
    assert op.scan_csv([f"{lake}/a.csv", f"{other}/a.csv"]).collect().height == 6


@pytest.mark.usefixtures("no_aws")
def test_secrets_are_in_no_repr_and_no_error(s3_server: S3Server) -> None:
    for backend in ("native", "gateway"):
        found = op.target("opendal+s3://b/a.parquet", S3, backend=backend)  # type: ignore[arg-type]
        shown = repr(found) + str(found.source)
        for secret in ("very-secret", *(v for k, v in found.storage_options.items() if "key" in k)):
            assert secret not in shown
    options = {**s3_server.options, "secret": "not-the-right-one"}
    url = f"opendal+s3://{s3_server.bucket}/a.parquet"
    with pytest.raises(OSError, match="Access denied") as error:
        op.read_parquet(url, storage_options=options, backend="gateway")
    assert "not-the-right-one" not in str(error.value)
