"""What a notebook shows of a filesystem: a table, without secrets and without a request."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs import OpendalFileSystem
from opendalfs.services import SERVICES, Locality
from opendalfs.testing import S3Server


def table(fs: Any) -> dict[str, str]:
    """Return the rows of the table that a notebook shows; it is well-formed."""
    rows = ET.fromstring(fs._repr_html_()).iter("tr")
    return {row[0].text or "": row[1].text or "" for row in rows}


def test_it_shows_service_container_endpoint_options_and_capabilities() -> None:
    fs = opendalfs.S3FileSystem(
        key="hush-id",
        secret="hush-secret",
        endpoint_url="https://user:hush-password@host:9000",
        region="mars-1",
        concurrency=16,
    )
    shown = table(fs)
    assert shown["service"] == "s3"
    assert shown["bucket"] == "the first part of each path"
    assert shown["endpoint"] == "https://***@host:9000"
    for option in ("access_key_id=***", "secret_access_key=***", "region='mars-1'", "concurrency=16"):
        assert option in shown["options"].split(", ")
    assert "retries" not in shown["options"]
    assert {"read", "write", "list", "sign URLs"} <= set(shown["can"].split(", "))
    assert "append in place" in shown["cannot"].split(", ")
    assert "hush" not in fs._repr_html_()
    assert "<b>S3FileSystem</b>" in fs._repr_html_()


def test_a_filesystem_of_one_container_shows_its_name() -> None:
    fs = OpendalFileSystem("s3", bucket="lake", region="mars-1", anon=True)
    assert table(fs)["bucket"] == "lake"
    assert table(fs)["endpoint"] == "the service's own"


def test_options_are_escaped() -> None:
    fs = OpendalFileSystem("memory", root="/<script>alert(1)</script>")
    assert "<script" not in fs._repr_html_()
    assert "<script>alert(1)</script>" in table(fs)["options"]


def test_a_credential_provider_is_shown_by_its_name() -> None:
    def vault() -> dict[str, Any]:
        raise AssertionError("a repr needs no credentials")

    fs = opendalfs.S3FileSystem(credential_provider=vault, region="mars-1")
    assert "vault" in table(fs)["credential_provider"]


@pytest.mark.parametrize("scheme", SERVICES)
def test_every_service_has_a_table(scheme: str) -> None:
    """Also where options are missing that a URL would bring."""
    shown = table(opendalfs.filesystem(scheme))
    assert shown["service"] == scheme


@pytest.mark.parametrize("scheme", sorted(s for s in SERVICES if SERVICES[s].locality is Locality.DISK))
def test_it_creates_no_file(scheme: str, tmp_path: Path) -> None:
    options = {
        name: str(tmp_path / name) for name in ("datadir", "datafile") if name in SERVICES[scheme].options
    }
    fs = opendalfs.filesystem(scheme, skip_instance_cache=True, **options)
    assert table(fs)["service"] == scheme
    assert list(tmp_path.iterdir()) == []


def test_it_takes_no_request(s3_server: S3Server) -> None:
    fs = opendalfs.filesystem("s3", skip_instance_cache=True, **s3_server.options)
    with opendalfs.trace() as trace:
        shown = table(fs)
    assert trace.requests == 0
    assert shown["endpoint"] == s3_server.endpoint
    assert s3_server.secret_key not in shown["options"]
