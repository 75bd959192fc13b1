"""Azure: explicit options win over the environment, as the server sees it."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import ScriptedServer
from tests.credentials.sent_requests import first_request, setenv

# Azure


def key(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


STORAGE = {"AZURE_STORAGE_ACCOUNT_NAME": "envacct", "AZURE_STORAGE_ACCOUNT_KEY": key("env-key")}
BLOB = {"AZBLOB_ACCOUNT_NAME": "blobacct", "AZBLOB_ACCOUNT_KEY": key("blob-key")}
TOKEN = {"AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=env-token"}
BEARER = {"AZURE_STORAGE_BEARER_TOKEN": "env-bearer"}
EVERY = {**STORAGE, **BLOB, **TOKEN, **BEARER}


@pytest.mark.parametrize("environment", [{}, STORAGE, BLOB, TOKEN, BEARER, EVERY])
@pytest.mark.parametrize(
    ("scheme", "identity"),
    [
        *(
            (scheme, name)
            for scheme in ("azblob", "azdls", "azfile")
            for name in ("key", "token", "connection")
        ),
        ("azblob", "anonymous"),
    ],
)
@pytest.mark.usefixtures("files")
def test_the_account_of_the_options_signs(
    scheme: str,
    identity: str,
    environment: dict[str, str],
    capture: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setenv(monkeypatch, environment)
    options: dict[str, Any] = {
        "key": {"account_name": "optacct", "account_key": key("opt-key")},
        "token": {"account_name": "optacct", "sas_token": "sv=1&sig=opt-token"},
        "connection": {"connection_string": f"AccountName=optacct;AccountKey={key('opt-key')}"},
        "anonymous": {"anon": True, "account_name": "optacct"},
    }[identity]
    request = first_request(capture, scheme, endpoint=capture.endpoint, **options)
    signed = request.headers.get("authorization", "").partition(":")[0]
    assert signed == ("SharedKey optacct" if identity in ("key", "connection") else "")
    assert ("sig=opt-token" in request.target) == (identity == "token")
    assert not re.search("env-|envacct|blobacct", request.text)


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        (STORAGE, {"account_name": "optacct"}),
        (BLOB, {"account_name": "optacct"}),
        (EVERY, {"account_name": "envacct"}),
        ({**TOKEN, "AZURE_STORAGE_ACCOUNT_NAME": "envacct"}, {"account_name": "optacct"}),
        (STORAGE, {"endpoint": "https://optacct.blob.core.windows.net"}),
    ],
)
@pytest.mark.usefixtures("files")
def test_the_environment_s_key_does_not_sign_for_another_account(
    environment: dict[str, str], options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setenv(monkeypatch, environment)
    with pytest.raises(OptionError, match=r"the options are for the account '\w*', but AZ") as caught:
        opendalfs.AzblobFileSystem(**options)
    assert key("env-key") not in str(caught.value)


@pytest.mark.usefixtures("files")
def test_the_environment_s_key_is_not_sent_to_the_account_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core

    setenv(monkeypatch, STORAGE)
    with pytest.raises(OptionError, match="'other', but AZURE_STORAGE_ACCOUNT_KEY"):
        fsspec.core.url_to_fs("opendal+azblob://data@other.blob.core.windows.net/x")
    fs, _ = fsspec.core.url_to_fs("opendal+azblob://data@envacct.blob.core.windows.net/x")
    assert fs.native["account_name"] == "envacct"


@pytest.mark.parametrize(
    ("environment", "options", "authorization"),
    [
        (STORAGE, {"account_name": "ENVACCT"}, "SharedKey envacct"),
        (STORAGE, {}, "SharedKey envacct"),
        (EVERY, {"account_name": "blobacct"}, "SharedKey blobacct"),
        (BEARER, {"account_name": "optacct"}, "Bearer env-bearer"),
    ],
)
@pytest.mark.usefixtures("files")
def test_the_environment_signs_for_its_own_account(
    environment: dict[str, str],
    options: dict[str, str],
    authorization: str,
    capture: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setenv(monkeypatch, environment)
    request = first_request(capture, "azblob", endpoint=capture.endpoint, **options)
    assert request.headers["authorization"].partition(":")[0] == authorization


@pytest.mark.parametrize("scheme", ["azblob", "azdls", "azfile"])
@pytest.mark.usefixtures("files")
def test_a_key_without_an_account_is_an_error(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, EVERY)
    fs_class = opendalfs.fs.registry.filesystem_class(scheme)
    with pytest.raises(OptionError, match="account_key= without account_name="):
        fs_class(endpoint="http://127.0.0.1:9", account_key=key("opt-key"))
    host = {"azblob": "blob", "azdls": "dfs", "azfile": "file"}[scheme]
    told = fs_class(endpoint=f"https://optacct.{host}.core.windows.net", account_key=key("opt-key"))
    assert told.native["account_name"] == "optacct"


@pytest.mark.usefixtures("files")
def test_the_client_of_the_options_signs_on(capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(
        monkeypatch, {"AZURE_TENANT_ID": "env-t", "AZURE_CLIENT_ID": "env-c", "AZURE_CLIENT_SECRET": "env-s"}
    )
    options = {"tenant_id": "opt-t", "client_id": "opt-c", "client_secret": "opt-s"}
    request = first_request(
        capture,
        "azdls",
        endpoint=capture.endpoint,
        account_name="optacct",
        authority_host=capture.endpoint,
        **options,
    )
    assert request.target == "/opt-t/oauth2/v2.0/token"
    assert "opt-c" in request.text
    assert "env-" not in request.text
