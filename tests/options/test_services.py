"""The table of services: each one of the wheel connects with the options it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opendal.services import Scheme

import opendalfs
from opendalfs import OptionError
from opendalfs.services import SERVICES, Form, lookup


@pytest.mark.parametrize(
    ("wrong", "right"), [("s33", "s3"), ("gss", "gs"), ("azblub", "azblob"), ("redi", "redis")]
)
def test_an_unknown_service_names_the_nearest_one(wrong: str, right: str) -> None:
    with pytest.raises(ValueError, match=rf"{wrong}.*did you mean .*'{right}'"):
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
        ("opendallocal", "fs"),
    ],
)
def test_a_service_is_found_by_any_of_its_names(name: str, scheme: str) -> None:
    assert lookup(name).scheme == scheme


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
        assert f"the service {scheme} rejects its options: " in message
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


EMBEDDED: dict[str, dict[str, str]] = {
    "cacache": {"datadir": "data"},
    "persy": {"datafile": "data", "segment": "s", "index": "i"},
    "redb": {"datadir": "data", "table": "t"},
    "sled": {"datadir": "data"},
    "sqlite": {"connection_string": "sqlite:{}/data?mode=rwc", "table": "t"},
}


@pytest.mark.parametrize(("scheme", "options"), EMBEDDED.items())
def test_every_embedded_store_opens_its_files(scheme: str, options: dict[str, str], tmp_path: Path) -> None:
    paths = {k: str(tmp_path / v) if k in ("datadir", "datafile") else v for k, v in options.items()}
    fs = opendalfs.filesystem(scheme, **{k: v.format(tmp_path) for k, v in paths.items()})
    assert fs.locate("key")[0].capability.write
    assert fs is not opendalfs.filesystem("memory")
