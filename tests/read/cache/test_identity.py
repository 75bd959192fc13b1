"""Whose reads share what is cached: those of equal options and credentials."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.read.cache import identifies
from opendalfs.read.cache.identity import container_digest
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version

SECRET = b"s" * 32
OPTIONS = {"region": "us-east-1", "endpoint": "http://127.0.0.1:1", "disable_ec2_metadata": True}
KEYS = {"key": "k", "secret": "s"}


def connection(**options: Any) -> Connection:
    """Return the connection of a new filesystem."""
    given = {"bucket": "lake", **OPTIONS, **options}
    return opendalfs.OpendalFileSystem("s3", **given, skip_instance_cache=True).locate("a")[0]


@pytest.fixture(autouse=True)
def no_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use no configuration of this machine."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def test_equal_options_share() -> None:
    assert container_digest(SECRET, connection(**KEYS)) == container_digest(SECRET, connection(**KEYS))


@pytest.mark.parametrize(
    "other",
    [
        {"key": "another"},
        {"secret": "another"},
        {"token": "t"},
        {"bucket": "another"},
        {"root": "below"},
        {"endpoint": "http://127.0.0.1:2"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_options_do_not(other: dict[str, Any]) -> None:
    digests = [container_digest(SECRET, connection(**KEYS | more)) for more in ({}, other)]
    assert None not in digests
    assert digests[0] != digests[1]


def test_another_secret_of_the_cache_gives_other_digests() -> None:
    same = connection(**KEYS)
    assert container_digest(SECRET, same) != container_digest(b"t" * 32, same)


def test_credentials_of_the_environment_and_of_files_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = {container_digest(SECRET, connection())}
    for key in ("one", "two"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        seen.add(container_digest(SECRET, connection()))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "other"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    for key in ("three", "fourth"):
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")
        seen.add(container_digest(SECRET, connection()))
    assert len(seen) == 5
    assert None not in seen


def provider(key: str) -> Callable[[], Any]:
    """Return a credential provider of one key."""
    return lambda: ({"key": key, "secret": "s"}, None)


def test_the_credentials_of_a_function_count() -> None:
    digests = []
    for key in ("one", "two", "one"):
        made = connection(credential_provider=provider(key))
        assert container_digest(SECRET, made) is None, "nothing is known before the first request"
        made.authorize()
        digests.append(container_digest(SECRET, made))
    assert None not in digests
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize(("age", "cached"), [(3600, True), (5, False), (-3600, False)])
def test_etags_of_web_servers_count_once_the_file_is_old(age: int, cached: bool) -> None:
    fs = opendalfs.OpendalFileSystem("http", endpoint="http://127.0.0.1:1", skip_instance_cache=True)
    modified = datetime.now(UTC) - timedelta(seconds=age)
    version = Version(3, etag='"abc"', modified=modified)
    assert identifies(fs.locate("a")[0], version) is cached
