"""Options: every library's names in, OpenDAL's out; a wrong one never passes in silence."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import botocore
import fsspec
import fsspec.config
import pytest
from opendal.services import Scheme

import opendalfs
from opendalfs import OpendalFileSystem, OptionError
from opendalfs.fs.services import filesystem_class
from opendalfs.options import check, secret_values
from opendalfs.services import SERVICES, Form, lookup

KEY = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "hush-hush"}


def native(scheme: str, **options: Any) -> dict[str, str]:
    return check(lookup(scheme), options, container=False)[0]


@pytest.fixture
def _no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


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


def test_a_connection_string_that_says_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match="connection_string"):
        native("azblob", connection_string="hello")


def test_an_azure_credential_object_is_refused_with_the_way_out() -> None:
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


# Values


@pytest.mark.parametrize(
    ("scheme", "option", "value", "text"),
    [
        ("s3", "enable_versioning", True, "true"),
        ("s3", "enable_versioning", "YES", "true"),
        ("s3", "enable_versioning", 0, "false"),
        ("s3", "batch_max_operations", 500, "500"),
        ("s3", "batch_max_operations", "500", "500"),
        ("s3", "assume_role_session_tags", {"a": "1", "b": "2"}, "a=1,b=2"),
        ("fs", "root", Path("/data"), "/data"),
        ("redis", "cluster_endpoints", ["redis://a:1", "redis://b:2"], "redis://a:1,redis://b:2"),
    ],
)
def test_values_of_any_type_become_what_opendal_parses(
    scheme: str, option: str, value: Any, text: str
) -> None:
    assert native(scheme, **{option: value})[option] == text


@pytest.mark.parametrize(
    ("scheme", "option", "value"),
    [
        ("s3", "enable_versioning", "perhaps"),
        ("s3", "batch_max_operations", "many"),
        ("s3", "batch_max_operations", 2.5),
        ("s3", "secret_access_key", True),
        ("s3", "endpoint", object()),
        ("s3", "client_kwargs", {"region": "eu"}),
        ("s3", "config_kwargs", {"s3": {"payload_signing_enabled": True}}),
        ("s3", "config_kwargs", {"signature_version": "s3"}),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_name(scheme: str, option: str, value: Any) -> None:
    with pytest.raises(OptionError, match=option):
        native(scheme, **{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("retries", -1),
        ("retries", 1.5),
        ("retries", "often"),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("io_timeout", 1e300),
        ("concurrency", 0),
        ("block_size", 0),
        ("read_chunk", -8),
        ("write_chunk", 0),
        ("max_gap", -1),
        ("retry_min_delay", -0.1),
    ],
)
def test_numbers_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(OptionError, match=option):
        opendalfs.filesystem("memory", **{option: value})


def test_numbers_may_be_strings_as_the_environment_gives_them() -> None:
    tuning = check(lookup("s3"), {"retries": "2", "timeout": "1.5"}, container=False)[1]
    assert (tuning.retries, tuning.timeout) == (2, 1.5)


def test_two_names_of_one_option_must_agree() -> None:
    with pytest.raises(OptionError, match="endpoint"):
        native("s3", endpoint_url="http://a", endpoint="http://b")
    assert native("s3", endpoint_url="http://a", endpoint="http://a")["endpoint"] == "http://a"


# Wrong names


@pytest.mark.parametrize(
    ("scheme", "wrong", "right"),
    [
        ("s3", "endpoit", "endpoint"),
        ("s3", "secret_acess_key", "secret_access_key"),
        ("s3", "retrys", "retries"),
        ("azblob", "acount_name", "account_name"),
        ("gcs", "endpoint_uri", "endpoint_url"),
        ("memory", "time_out", "timeout"),
    ],
)
def test_an_unknown_option_names_the_nearest_one(scheme: str, wrong: str, right: str) -> None:
    with pytest.raises(OptionError, match=rf"no option '{wrong}'. Did you mean '{right}'\?"):
        opendalfs.filesystem(scheme, **{wrong: "x"})


def test_a_bound_filesystem_names_the_nearest_option_too() -> None:
    with pytest.raises(OptionError, match="Did you mean 'bucket'"):
        OpendalFileSystem("s3", buckett="x")


@pytest.mark.parametrize(
    ("wrong", "right"), [("s33", "s3"), ("gss", "gs"), ("azblub", "azblob"), ("redi", "redis")]
)
def test_an_unknown_service_names_the_nearest_one(wrong: str, right: str) -> None:
    with pytest.raises(ValueError, match=rf"{wrong}.*Did you mean .*'{right}'"):
        opendalfs.filesystem(wrong)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("s3a", "s3"),
        ("gs", "gcs"),
        ("az", "azblob"),
        ("abfss", "azdls"),
        ("file", "fs"),
        ("https", "http"),
        ("hdfs", "hdfs-native"),
        ("hdfs_native", "hdfs-native"),
        ("opendal+S3", "s3"),
        ("opendals3", "s3"),
        ("opendalfs", "fs"),
    ],
)
def test_a_service_is_found_by_any_of_its_names(name: str, scheme: str) -> None:
    assert lookup(name).scheme == scheme


CONTAINERS = [s.scheme for s in SERVICES.values() if s.container]


@pytest.mark.parametrize("scheme", CONTAINERS)
def test_the_container_does_not_go_into_the_options_of_a_service_class(scheme: str) -> None:
    service = SERVICES[scheme]
    assert service.container is not None
    with pytest.raises(OptionError, match=r"first part of each path, as in 'lake/key'.*OpendalFileSystem"):
        filesystem_class(scheme)(**{service.container: "lake"})


@pytest.mark.parametrize("scheme", CONTAINERS)
def test_a_bound_filesystem_asks_for_its_container(scheme: str) -> None:
    with pytest.raises(OptionError, match=f"needs {SERVICES[scheme].container}="):
        OpendalFileSystem(scheme)


# Defaults


@pytest.mark.usefixtures("_no_aws")
class TestRegion:
    def test_is_us_east_1_when_nothing_says_otherwise(self) -> None:
        assert native("s3")["region"] == "us-east-1"

    @pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
    def test_comes_from_the_environment(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(name, "eu-west-3")
        assert native("s3")["region"] == "eu-west-3"

    def test_comes_from_the_profile_in_the_config_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        config = "[default]\nregion = eu-1\nsso = 50%\n[profile work]\nregion = eu-2\n"
        (tmp_path / "config").write_text(config)
        assert native("s3")["region"] == "eu-1"
        assert native("s3", profile="work")["region"] == "eu-2"
        monkeypatch.setenv("AWS_PROFILE", "work")
        assert native("s3")["region"] == "eu-2"

    def test_of_the_options_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_REGION", "eu-west-3")
        assert native("s3", region="mars-1")["region"] == "mars-1"

    @pytest.mark.parametrize("content", [b"no section", b"\xff\xfe\x00", b""])
    def test_survives_a_broken_config_file(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "config").write_bytes(content)
        assert native("s3")["region"] == "us-east-1"


# fsspec's configuration


@pytest.fixture
def conf() -> Iterator[dict[str, Any]]:
    found: dict[str, Any] = fsspec.config.conf
    before = dict(found)
    yield found
    found.clear()
    found.update(before)


def test_fsspecs_environment_reaches_the_protocol_without_a_plus(conf: dict[str, Any]) -> None:
    environment = {
        "FSSPEC_OPENDALS3_ENDPOINT_URL": "http://host:1",
        "FSSPEC_OPENDALS3_RETRIES": "1",
        "FSSPEC_OPENDALS3_ANON": "true",
    }
    fsspec.config.set_conf_env(conf, environment)
    fs = fsspec.filesystem("opendal+s3")
    assert (fs.native["endpoint"], fs.native["skip_signature"]) == ("http://host:1", "true")
    assert fs.tuning.retries == 1
    assert (
        fsspec.filesystem("opendals3", endpoint_url="http://other:1").native["endpoint"] == "http://other:1"
    )


@pytest.mark.parametrize("protocol", ["opendal+s3", "opendals3"])
def test_fsspecs_config_files_are_heeded(conf: dict[str, Any], tmp_path: Path, protocol: str) -> None:
    settings = {protocol: {"client_kwargs": {"region_name": "mars-1"}, "block_size": 4096}}
    (tmp_path / "conf.json").write_text(json.dumps(settings))
    fsspec.config.set_conf_files(str(tmp_path), conf)
    fs = opendalfs.S3FileSystem()
    assert fs.native["region"] == "mars-1"
    assert fs.tuning.block_size == 4096


# Every service


def test_the_table_holds_the_services_of_the_wheel() -> None:
    members = [m for m in vars(Scheme).values() if isinstance(m, Scheme)]
    assert set(SERVICES) == {str(m.value) for m in members}


PLACES = {Form.CONTAINER: "box/key", Form.HUB: "datasets/owner/name/key", Form.ABSOLUTE: "/key"}


@pytest.mark.parametrize("scheme", SERVICES)
def test_every_service_without_options_works_or_says_what_it_lacks(scheme: str) -> None:
    fs = opendalfs.filesystem(scheme)
    assert fs.service.scheme == scheme
    try:
        connection, _ = fs.locate(PLACES.get(fs.service.form, "key"))
    except OptionError as exc:
        message = str(exc)
        assert f"the service {scheme} refuses its options: " in message
        assert len(message.partition("options: ")[2].partition(". ")[0]) > 8, "no reason"
        assert all(option in message for option in fs.service.options)
    else:
        assert connection.capability.read or connection.capability.write


WORKING: dict[str, dict[str, Any]] = {
    "aliyun-drive": {"access_token": "t", "drive_type": "default"},
    "alluxio": {"endpoint": "http://host"},
    "azblob": {"account_name": "a"},
    "azdls": {"account_name": "a"},
    "azfile": {"account_name": "a"},
    "b2": {"bucket_id": {"box": "id"}, "application_key_id": "i", "application_key": "k"},
    "cos": {"endpoint": "https://host"},
    "dropbox": {"access_token": "t"},
    "ftp": {"endpoint": "ftp://host", "username": "me", "password": "pw"},
    "gdrive": {"access_token": "t"},
    "gridfs": {"connection_string": "mongodb://host/db", "database": "db"},
    "hdfs-native": {"name_node": "hdfs://host:9"},
    "http": {"endpoint": "https://host"},
    "ipfs": {"endpoint": "https://host", "root": "/ipfs/cid/"},
    "memcached": {"endpoint": "tcp://host:1"},
    "mongodb": {"connection_string": "mongodb://host/db", "database": "db", "collection": "c"},
    "mysql": {"connection_string": "mysql://host/db", "table": "t"},
    "obs": {"endpoint": "https://host"},
    "onedrive": {"access_token": "t"},
    "oss": {"endpoint": "https://host"},
    "postgresql": {"connection_string": "postgresql://host/db", "table": "t"},
    "redis": {"endpoint": "redis://host:1"},
    "seafile": {"endpoint": "https://host", "repo_name": "r", "username": "me", "password": "pw"},
    "swift": {"endpoint": "https://host", "token": "t"},
    "upyun": {"operator": "me", "password": "pw"},
    "vercel-artifacts": {"access_token": "t"},
    "webdav": {"endpoint": "https://host"},
    "yandex-disk": {"access_token": "t"},
}


@pytest.mark.parametrize("scheme", WORKING)
def test_every_remote_service_connects_with_the_options_it_needs(scheme: str) -> None:
    fs = opendalfs.filesystem(scheme, **WORKING[scheme])
    connection, key = fs.locate(PLACES.get(fs.service.form, "key"))
    assert (connection.service.scheme, key) == (scheme, "key")
    assert connection.capability.read or connection.capability.write


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("cacache", {"datadir": "data"}),
        ("persy", {"datafile": "data", "segment": "s", "index": "i"}),
        ("redb", {"datadir": "data", "table": "t"}),
        ("sled", {"datadir": "data"}),
        ("sqlite", {"connection_string": "sqlite:{}/data?mode=rwc", "table": "t"}),
    ],
)
def test_every_embedded_store_opens_its_files(scheme: str, options: dict[str, str], tmp_path: Path) -> None:
    paths = {k: str(tmp_path / v) if k in ("datadir", "datafile") else v for k, v in options.items()}
    fs = opendalfs.filesystem(scheme, **{k: v.format(tmp_path) for k, v in paths.items()})
    assert fs.locate("key")[0].capability.write
    assert fs is not opendalfs.filesystem("memory")


# Secrets


def test_reprs_show_no_secret() -> None:
    s3 = opendalfs.S3FileSystem(key="AKIAEXAMPLE", secret="hush-hush", endpoint_url="http://u:pw1234@host:9")
    azure = opendalfs.AzblobFileSystem(account_name="acct", sas_token="sv=1&sig=hush-hush")
    for fs in (s3, azure):
        shown = f"{fs!r} {fs} {fs.fsid}"
        for secret in ("AKIAEXAMPLE", "hush-hush", "pw1234"):
            assert secret not in shown
    assert "host:9" in repr(s3)


def test_secret_values_are_the_longest_first() -> None:
    found = secret_values(
        {"secret_access_key": "abcd", "session_token": "abcdef", "region": "eu", "token": "x"}
    )
    assert found == ("abcdef", "abcd")
