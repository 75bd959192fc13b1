"""Errors of credentials name each place that was looked at, what was found there, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.credential_report import report
from opendalfs.errors import redact
from opendalfs.services import lookup
from opendalfs.testing import Response, ScriptedServer
from tests.credentials.sent_requests import setenv


def refusal(capture: ScriptedServer, scheme: str = "s3", **options: Any) -> str:
    """Return the text of the error when the server denies everything."""
    capture.respond = lambda _: Response(403)
    fs = opendalfs.filesystem(
        scheme, endpoint=capture.endpoint, retries=0, timeout=10, skip_instance_cache=True, **options
    )
    with pytest.raises(PermissionError) as caught:
        fs.cat_file("lake/key")
    text = str(caught.value)
    assert len(text.splitlines()[0]) < 150
    assert caught.value.filename == "lake/key"
    return text


@pytest.mark.usefixtures("files")
def test_each_place_of_s3_is_named(capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nothing")
    text = refusal(capture, region="eu-1")
    assert "No usable credentials" in text
    for part in (
        "options key and secret (absent)",
        "option credential_provider (absent)",
        "AWS_ACCESS_KEY_ID (absent)",
        "AWS_SESSION_TOKEN (absent)",
        "AWS_PROFILE (set, 'nothing')",
        "credentials [nothing] (absent)",
        "config [nothing] (has no credentials)",
        "instance metadata (not used because of AWS_EC2_METADATA_DISABLED)",
        "Pass key and secret, profile, credential_provider, or anon=True.",
    ):
        assert part in text
    assert redact(text) == text


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAHUSHHUSH", "AWS_SECRET_ACCESS_KEY": "hush"}, "(set, AKIA…)"),
        ({"AWS_ACCESS_KEY_ID": "hush", "AWS_SECRET_ACCESS_KEY": "hush"}, "AWS_ACCESS_KEY_ID (set)"),
        ({}, "credentials [default] (has aws_access_key_id, aws_secret_access_key)"),
    ],
)
@pytest.mark.usefixtures("files")
def test_keys_that_the_server_denies_are_named_without_their_values(
    environment: dict[str, str], part: str, capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    setenv(monkeypatch, environment)
    text = refusal(capture, region="eu-1")
    assert "Access denied" in text
    assert part in text
    assert not {"hush", "HUSH", "DEFKEY", "def-secret"} & set(text.split())
    assert "hush" not in text.lower()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"key": "hush", "secret": "hush"}, "Credentials: options access_key_id, secret_access_key."),
        ({"profile": "work"}, "Credentials: AWS profile 'work'."),
        ({"profile": "process"}, "Credentials: credential_provider"),
    ],
)
def test_credentials_of_the_options_are_named_alone(
    options: dict[str, Any], part: str, files: Path, capture: ScriptedServer
) -> None:
    script = files / "process.sh"
    script.write_text('#!/bin/sh\necho \'{"Version":1,"AccessKeyId":"hush","SecretAccessKey":"hush"}\'\n')
    script.chmod(0o755)
    (files / "config").write_text(f"[profile process]\ncredential_process = {script}\n")
    text = refusal(capture, region="eu-1", **options)
    assert part in text
    assert "hush" not in text
    assert "AWS_SESSION_TOKEN" not in text


@pytest.mark.usefixtures("files")
def test_each_place_of_google_and_azure_is_named(
    capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/missing.json")
    text = refusal(capture, "gcs", disable_vm_metadata=True)
    assert "GOOGLE_APPLICATION_CREDENTIALS (set, but there is no such file)" in text
    assert "application_default_credentials.json (absent)" in text
    assert "instance metadata (not used because of disable_vm_metadata)" in text
    text = refusal(capture, "gcs", token="/missing.json")
    assert "Credentials: options credential_path (there is no such file). To use others pass token" in text
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acct")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aHVzaA==")
    text = refusal(capture, "azblob")
    assert "options account_key and sas_token (absent)" in text
    assert "AZURE_STORAGE_ACCOUNT_KEY (set)" in text
    assert "aHVzaA" not in text


def test_services_without_known_places_and_anonymous_access_have_no_report() -> None:
    assert report(lookup("webdav"), {}) is None
    assert report(lookup("s3"), {"skip_signature": "true"}) is None


def test_expired_credentials_of_the_options_are_told(capture: ScriptedServer) -> None:
    body = b"<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>"
    fs = opendalfs.filesystem(
        "s3", endpoint=capture.endpoint, region="eu-1", key="k", secret="s", token="hush", retries=0
    )
    for status in (400, 403):
        capture.respond = lambda _, status=status: Response(status, {}, body)
        with pytest.raises(PermissionError, match="have expired: pass new ones, or a credential_provider"):
            fs.cat_file("lake/key")
