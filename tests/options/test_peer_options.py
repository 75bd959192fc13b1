"""Options in the names of s3fs, gcsfs, adlfs and ossfs."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import botocore
import pytest

from opendalfs import OptionError
from opendalfs.options import check
from opendalfs.services import lookup
from tests.options.native import native

KEY = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "hush-hush"}


# Names of the peer libraries


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"key": "AKIAEXAMPLE", "secret": "hush-hush"}, KEY),
        ({"username": "AKIAEXAMPLE", "password": "hush-hush"}, KEY),
        ({"token": "session"}, {"session_token": "session"}),
        ({"anon": True}, {"skip_signature": "true"}),
        ({"anon": False}, {"skip_signature": "false"}),
        ({"endpoint_url": "http://host:9000"}, {"endpoint": "http://host:9000"}),
        ({"endpoint_url": "host:9000", "use_ssl": False}, {"endpoint": "http://host:9000"}),
        ({"endpoint_url": "host:9000"}, {"endpoint": "https://host:9000"}),
        ({"client_kwargs": {"endpoint_url": "http://host:9000"}}, {"endpoint": "http://host:9000"}),
        ({"client_kwargs": {"region_name": "eu-west-1"}}, {"region": "eu-west-1"}),
        (
            {"client_kwargs": {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "hush-hush"}},
            KEY,
        ),
        (
            {"endpoint_url": "http://a", "client_kwargs": {"endpoint_url": "http://b"}},
            {"endpoint": "http://a"},
        ),
        ({"profile": "work", "requester_pays": True}, {"profile": "work", "enable_request_payer": "true"}),
        ({"version_aware": True}, {"enable_versioning": "true"}),
        (
            {"config_kwargs": {"s3": {"addressing_style": "virtual"}}},
            {"enable_virtual_host_style": "true"},
        ),
        ({"config_kwargs": {"s3": {"addressing_style": "path"}}}, {"enable_virtual_host_style": "false"}),
        ({"config_kwargs": {"signature_version": botocore.UNSIGNED}}, {"skip_signature": "true"}),
        (
            {"s3_additional_kwargs": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "id"}},
            {"server_side_encryption": "aws:kms", "server_side_encryption_aws_kms_key_id": "id"},
        ),
        (
            {"s3_additional_kwargs": {"ACL": "private", "StorageClass": "STANDARD_IA"}},
            {"default_acl": "private", "default_storage_class": "STANDARD_IA"},
        ),
        ({"role": "arn:aws:iam::1:role/r"}, {"role_arn": "arn:aws:iam::1:role/r"}),
        ({"key": None, "secret": None, "endpoint_url": None}, {}),
    ],
)
@pytest.mark.usefixtures("_no_aws")
def test_options_of_s3fs(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert native("s3", **options) == {"region": "us-east-1"} | expected


def test_a_signature_version_that_signs_stays_signed() -> None:
    found = native("s3", config_kwargs={"signature_version": "s3v4"})
    assert "skip_signature" not in found


def test_timeouts_retries_and_pool_of_botocore_become_ours() -> None:
    config = {
        "connect_timeout": 3,
        "read_timeout": 7,
        "max_pool_connections": 5,
        "retries": {"max_attempts": 2, "mode": "standard"},
    }
    tuning = check(lookup("s3"), {"config_kwargs": config}, container=False)[1]
    assert (tuning.timeout, tuning.io_timeout, tuning.concurrency, tuning.retries) == (3, 7, 5, 2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"token": "anon"}, {"skip_signature": "true"}),
        ({"token": "/keys/service.json"}, {"credential_path": "/keys/service.json"}),
        ({"token": Path("/keys/service")}, {"credential_path": "/keys/service"}),
        ({"token": "google_default", "project": "p"}, {}),
        ({"token": None, "project": "p"}, {}),
        ({"token": "ya29.bearer"}, {"token": "ya29.bearer"}),
        ({"endpoint_url": "http://host:1"}, {"endpoint": "http://host:1"}),
    ],
)
def test_options_of_gcsfs(options: dict[str, Any], expected: dict[str, str]) -> None:
    assert native("gcs", **options) == expected


def test_a_gcsfs_token_that_is_a_dict_becomes_a_credential() -> None:
    found = native("gcs", token={"type": "service_account"})
    assert json.loads(base64.b64decode(found["credential"])) == {"type": "service_account"}


def test_a_gcsfs_token_that_is_an_object_is_refused_without_showing_it() -> None:
    with pytest.raises(OptionError, match="not a Decimal") as caught:
        native("gcs", token=Decimal(42))
    assert "42" not in str(caught.value)


CONNECTION = (
    "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=bXkga2V5==;EndpointSuffix=core.windows.net"
)


@pytest.mark.parametrize(
    ("scheme", "options", "expected"),
    [
        (
            "azblob",
            {"account_name": "acct", "account_key": "k"},
            {"account_name": "acct", "account_key": "k", "endpoint": "https://acct.blob.core.windows.net"},
        ),
        (
            "azblob",
            {"connection_string": CONNECTION},
            {
                "account_name": "acct",
                "account_key": "bXkga2V5==",
                "endpoint": "https://acct.blob.core.windows.net",
            },
        ),
        (
            "azdls",
            {"connection_string": CONNECTION},
            {
                "account_name": "acct",
                "account_key": "bXkga2V5==",
                "endpoint": "https://acct.dfs.core.windows.net",
            },
        ),
        (
            "azblob",
            {"connection_string": "BlobEndpoint=http://h:1/acct/;SharedAccessSignature=sv=1&sig=x"},
            {"endpoint": "http://h:1/acct", "sas_token": "sv=1&sig=x"},
        ),
        (
            "azblob",
            {"account_name": "acct", "sas_token": "?sv=1&sig=x"},
            {
                "account_name": "acct",
                "sas_token": "sv=1&sig=x",
                "endpoint": "https://acct.blob.core.windows.net",
            },
        ),
        (
            "azblob",
            {"endpoint": "http://h", "credential": "sv=1&sig=x"},
            {"endpoint": "http://h", "sas_token": "sv=1&sig=x"},
        ),
        (
            "azblob",
            {"endpoint": "http://h", "credential": "bXkga2V5"},
            {"endpoint": "http://h", "account_key": "bXkga2V5"},
        ),
        (
            "azblob",
            {"endpoint": "http://h", "anon": True},
            {"endpoint": "http://h", "skip_signature": "true"},
        ),
        (
            "azdls",
            {"account_name": "a", "tenant_id": "t", "client_id": "c", "client_secret": "s"},
            {
                "account_name": "a",
                "tenant_id": "t",
                "client_id": "c",
                "client_secret": "s",
                "endpoint": "https://a.dfs.core.windows.net",
            },
        ),
    ],
)
def test_options_of_adlfs(scheme: str, options: dict[str, Any], expected: dict[str, str]) -> None:
    assert native(scheme, **options) == expected


def test_the_development_storage_of_azure_needs_no_more_than_its_name() -> None:
    found = native("azblob", connection_string="UseDevelopmentStorage=true")
    assert (found["account_name"], found["endpoint"]) == (
        "devstoreaccount1",
        "http://127.0.0.1:10000/devstoreaccount1",
    )


def test_an_empty_connection_string_is_refused() -> None:
    with pytest.raises(OptionError, match="connection_string"):
        native("azblob", connection_string="hello")


def test_an_azure_credential_object_is_refused_and_names_the_alternative() -> None:
    with pytest.raises(OptionError, match="managed identities"):
        native("azblob", credential=object())


def test_options_of_ossfs() -> None:
    found = native("oss", key="k", secret="s", token="t", endpoint="http://oss.example")
    assert found == {
        "access_key_id": "k",
        "access_key_secret": "s",
        "security_token": "t",
        "endpoint": "http://oss.example",
    }
