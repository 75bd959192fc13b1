"""Options: values, unknown names, regions, fsspec's configuration; a wrong one is an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import fsspec.config
import pytest

import opendalfs
from opendalfs import OpendalFileSystem, OptionError
from opendalfs.fs.registry import filesystem_class
from opendalfs.options import check, secret_values
from opendalfs.services import SERVICES, lookup
from tests.options.native import native

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
    with pytest.raises(OptionError, match=rf"no option '{wrong}': did you mean '{right}'\?"):
        opendalfs.filesystem(scheme, **{wrong: "x"})


def test_a_bound_filesystem_names_the_nearest_option_too() -> None:
    with pytest.raises(OptionError, match="did you mean 'bucket'"):
        OpendalFileSystem("s3", buckett="x")


CONTAINERS = [s.scheme for s in SERVICES.values() if s.container]


@pytest.mark.parametrize("scheme", CONTAINERS)
def test_the_container_does_not_go_into_the_options_of_a_service_class(scheme: str) -> None:
    service = SERVICES[scheme]
    assert service.container is not None
    with pytest.raises(OptionError, match=r"begin each path with it, as in 'lake/key'.*OpendalFileSystem"):
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
def test_fsspecs_config_files_are_used(conf: dict[str, Any], tmp_path: Path, protocol: str) -> None:
    settings = {protocol: {"client_kwargs": {"region_name": "mars-1"}, "block_size": 4096}}
    (tmp_path / "conf.json").write_text(json.dumps(settings))
    fsspec.config.set_conf_files(str(tmp_path), conf)
    fs = opendalfs.S3FileSystem()
    assert fs.native["region"] == "mars-1"
    assert fs.tuning.block_size == 4096


# Secrets


def test_reprs_show_no_secret() -> None:
    s3 = opendalfs.S3FileSystem(key="AKIAEXAMPLE", secret="hush-hush", endpoint_url="http://u:pw1234@host:9")
    azure = opendalfs.AzblobFileSystem(account_name="acct", sas_token="sv=1&sig=hush-hush")
    for fs in (s3, azure):
        shown = f"{fs!r} {fs} {fs.fsid} {fs._repr_html_()}"
        for secret in ("AKIAEXAMPLE", "hush-hush", "pw1234"):
            assert secret not in shown
    assert "host:9" in repr(s3)


def test_secret_values_are_the_longest_first() -> None:
    found = secret_values(
        {"secret_access_key": "abcd", "session_token": "abcdef", "region": "eu", "token": "x"}
    )
    assert found == ("abcdef", "abcd")
