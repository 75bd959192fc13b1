"""Google Cloud Storage: explicit options win over the environment, as the server sees it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import opendalfs
from opendalfs.testing import ScriptedServer
from tests.credentials.sent_requests import first_request

# Google


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def service_account(name: str, private_key: str) -> dict[str, str]:
    return {"type": "service_account", "client_email": f"{name}@x", "private_key": private_key}


@pytest.fixture
def google(files: Path, capture: ScriptedServer, private_key: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name a key file and a metadata server in the environment, and make another key file."""
    (files / "env.json").write_text(json.dumps(service_account("env", private_key)))
    (files / "option.json").write_text(json.dumps(service_account("option", private_key)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(files / "env.json"))
    monkeypatch.setenv("GCE_METADATA_HOST", capture.host)
    return files


def signing_account(fs: Any) -> str:
    """Return the account that signs a URL, which asks no server."""
    found = re.search(r"X-Goog-Credential=([^&]*)", fs.sign("lake/key"))
    assert found
    return unquote(found.group(1)).partition("@")[0]


def test_the_service_account_of_the_options_signs(
    google: Path, capture: ScriptedServer, private_key: str
) -> None:
    common = {"endpoint": capture.endpoint}
    given = service_account("option", private_key)
    text = base64.b64encode(json.dumps(given).encode()).decode()
    assert signing_account(opendalfs.GcsFileSystem(**common)) == "env"
    for options in (
        {"credential": text},
        {"credential_path": str(google / "option.json")},
        {"token": given},
        {"token": str(google / "option.json")},
    ):
        assert signing_account(opendalfs.GcsFileSystem(**common, **options)) == "option", options
    assert capture.requests == []


@pytest.mark.parametrize(
    "options",
    [
        {"credential": "no base64"},
        {"credential": base64.b64encode(b'{"type": "service_account"}').decode()},
        {"credential_path": "/missing.json"},
        {"token": "/missing.json"},
        {"token": {"type": "unheard_of"}},
    ],
)
@pytest.mark.usefixtures("google")
def test_an_unreadable_account_is_an_error_rather_than_another_one(
    options: dict[str, Any], capture: ScriptedServer
) -> None:
    fs = opendalfs.GcsFileSystem(endpoint=capture.endpoint, retries=0, **options)
    for call in (fs.info, fs.sign):
        with pytest.raises(PermissionError, match="No usable credentials"):
            call("lake/key")
    assert capture.requests == []


@pytest.mark.parametrize("options", [{"service_account": "mine@x"}, {"token": "cloud"}])
@pytest.mark.usefixtures("google")
def test_the_machine_s_account_comes_before_a_key_file_of_the_environment(
    options: dict[str, Any], capture: ScriptedServer
) -> None:
    target = first_request(capture, "gcs", endpoint=capture.endpoint, scope="https://scope", **options).target
    name = options.get("service_account", "default")
    assert target == f"/computeMetadata/v1/instance/service-accounts/{name}/token?scopes=https://scope"


@pytest.mark.parametrize(
    ("options", "authorization"),
    [({"token": "opt-token"}, "Bearer opt-token"), ({"token": "anon"}, ""), ({"anon": True}, "")],
)
@pytest.mark.usefixtures("google")
def test_an_access_token_or_none_comes_before_the_environment(
    options: dict[str, Any], authorization: str, capture: ScriptedServer
) -> None:
    request = first_request(capture, "gcs", endpoint=capture.endpoint, **options)
    assert request.headers.get("authorization", "") == authorization
    assert request.target.startswith("/storage/")


# Azure


def key(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
