"""Credentials: an explicit option wins over the environment, as seen by the server that is sent them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import Request, Response, ScriptedServer

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "ENVKEY",
    "AWS_SECRET_ACCESS_KEY": "env-secret",
    "AWS_SESSION_TOKEN": "env-token",
}
OPTIONS = {"key": "OPTKEY", "secret": "opt-secret"}
CREDENTIALS = """
[default]
aws_access_key_id = DEFKEY
aws_secret_access_key = def-secret

[work]
aws_access_key_id = WORKKEY
aws_secret_access_key = work-secret

[passing]
aws_access_key_id = PASSKEY
aws_secret_access_key = pass-secret
aws_session_token = pass-token

[both]
aws_access_key_id = BOTHKEY
aws_secret_access_key = both-secret

[half]
aws_access_key_id = HALFKEY
"""
CONFIG = """
[default]
region = def-region

[profile work]
region = work-region

[profile "config only"]
aws_access_key_id = CONFIGKEY
aws_secret_access_key = config-secret

[profile both]
aws_access_key_id = OTHERKEY
aws_secret_access_key = other-secret
credential_process = /bin/false

[profile process]
credential_process = /bin/echo

[profile role]
role_arn = arn:aws:iam::1:role/r
source_profile = work

[profile web]
web_identity_token_file = /etc/hostname
aws_access_key_id = WEBKEY
aws_secret_access_key = web-secret

[profile sso]
sso_start_url = https://sso.invalid/start
sso_region = us-east-1
sso_account_id = 1
sso_role_name = r

[profile session]
sso_session = s

[profile nothing]
region = some-region
"""
VARIABLES = re.compile(r"(AWS|AZURE|AZBLOB|GOOGLE|GCE|CLOUDSDK)_")


@pytest.fixture
def capture() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make a home with AWS's files, and an environment that says nothing."""
    import os

    for name in [name for name in os.environ if VARIABLES.match(name)]:
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(CREDENTIALS)
    (tmp_path / "config").write_text(CONFIG)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path


def setenv(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def first_request(capture: ScriptedServer, scheme: str, **options: Any) -> Request:
    """Ask for one object and return what the server was sent."""
    fs = opendalfs.filesystem(scheme, retries=0, timeout=10, skip_instance_cache=True, **options)
    with suppress(OSError):
        fs.info("lake/key")
    assert capture.requests, "nothing was sent"
    return capture.requests[0]


def signer(request: Request) -> tuple[str, str, str]:
    """Return the access key, region and session token of a request to S3."""
    found = re.search(r"Credential=([^/]*)/\d*/([^/]*)/", request.headers.get("authorization", ""))
    key, region = found.groups() if found else ("", "")
    return key, region, request.headers.get("x-amz-security-token", "")


# S3: keys


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        ({}, OPTIONS, ("OPTKEY", "")),
        (ENVIRONMENT, OPTIONS, ("OPTKEY", "")),
        (ENVIRONMENT, {**OPTIONS, "token": "opt-token"}, ("OPTKEY", "opt-token")),
        (ENVIRONMENT, {}, ("ENVKEY", "env-token")),
        (ENVIRONMENT, {"anon": True}, ("", "")),
        (ENVIRONMENT, {"anon": True, **OPTIONS}, ("", "")),
        (ENVIRONMENT, {"anon": True, "profile": "work"}, ("", "")),
        (ENVIRONMENT, {"allow_anonymous": True}, ("", "")),
        ({}, {}, ("DEFKEY", "")),
        ({}, {"profile": "work"}, ("WORKKEY", "")),
        (ENVIRONMENT, {"profile": "work"}, ("WORKKEY", "")),
        (ENVIRONMENT, {"profile": "default"}, ("DEFKEY", "")),
        (ENVIRONMENT, {"profile": "passing"}, ("PASSKEY", "pass-token")),
        (ENVIRONMENT, {"profile": "config only"}, ("CONFIGKEY", "")),
        (ENVIRONMENT, {"profile": "both"}, ("BOTHKEY", "")),
        (ENVIRONMENT, {"profile": "work", **OPTIONS}, ("OPTKEY", "")),
        (ENVIRONMENT, {"profile": "missing", **OPTIONS}, ("OPTKEY", "")),
        ({"AWS_PROFILE": "work"}, {}, ("WORKKEY", "")),
        ({"AWS_PROFILE": "work"}, {"profile": "passing"}, ("PASSKEY", "pass-token")),
        # As in boto3, where a profile of the environment stands behind keys of the environment.
        ({**ENVIRONMENT, "AWS_PROFILE": "work"}, {}, ("ENVKEY", "env-token")),
        (
            {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": "/etc/hostname"},
            OPTIONS,
            ("OPTKEY", ""),
        ),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"}, OPTIONS, ("OPTKEY", "")),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"}, {"profile": "work"}, ("WORKKEY", "")),
    ],
)
@pytest.mark.usefixtures("files")
def test_the_keys_of_the_options_sign(
    environment: dict[str, str],
    options: dict[str, Any],
    expected: tuple[str, str],
    capture: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setenv(monkeypatch, environment)
    request = first_request(capture, "s3", endpoint_url=capture.endpoint, **options)
    key, _, token = signer(request)
    assert (key, token) == expected
    assert "env-token" not in request.text or expected[1] == "env-token"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"profile": "missing"}, "there is no AWS profile 'missing'"),
        ({"profile": "process"}, "credential_process"),
        ({"profile": "role"}, "assumes a role"),
        ({"profile": "web"}, "assumes a role"),
        ({"profile": "sso"}, "signs on at a server, and OpenDAL would use AWS_ACCESS_KEY_ID"),
        ({"profile": "session"}, "signs on at a server, and OpenDAL would use AWS_ACCESS_KEY_ID"),
        ({"profile": "nothing"}, "has no credentials of its own, and OpenDAL would use AWS_ACCESS_KEY_ID"),
        ({"profile": "half"}, "has no access key and secret"),
        ({"key": "OPTKEY"}, "access_key_id= is given without secret_access_key="),
        ({"secret": "opt-secret"}, "secret_access_key= is given without access_key_id="),
        ({"token": "opt-token"}, "session_token= is given without access_key_id= and secret_access_key="),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_opendal_would_pass_over_is_an_error_rather_than_another_account(
    options: dict[str, Any], says: str, capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    setenv(monkeypatch, ENVIRONMENT)
    with pytest.raises(OptionError, match=re.escape(says)) as caught:
        first_request(capture, "s3", endpoint_url=capture.endpoint, **options)
    assert not re.search("opt-secret|opt-token|HALFKEY|OPTKEY", str(caught.value))
    assert capture.requests == []


@pytest.mark.usefixtures("files")
def test_a_profile_without_credentials_takes_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an instance or in a container of AWS a profile often holds no more than a region."""
    role = {"AccessKeyId": "ROLE", "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}
    role_text = json.dumps(role).encode()
    with ScriptedServer(
        lambda request: Response(200, body=role_text) if request.target == "/role" else Response(404)
    ) as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.endpoint}/role")
        fs = opendalfs.S3FileSystem(endpoint_url=server.endpoint, profile="nothing", retries=0, timeout=10)
        with suppress(OSError):
            fs.info("lake/key")
    assert signer(server.requests[-1]) == ("ROLE", "some-region", "t")
    assert "disable_ec2_metadata" not in fs.native


@pytest.mark.usefixtures("files")
def test_a_role_of_the_options_is_never_left_out(
    capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server for roles is reached here, so nothing may be signed at all."""
    setenv(monkeypatch, ENVIRONMENT)
    # A region whose host for roles does not resolve.
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "regional")
    options = {"endpoint_url": capture.endpoint, "role": "arn:aws:iam::1:role/r", "region": "x.invalid"}
    with pytest.raises(OSError, match=r"."):
        opendalfs.S3FileSystem(retries=0, timeout=5, **options).info("lake/key")
    assert capture.requests == []


@pytest.mark.usefixtures("files")
def test_a_profile_shows_no_secret() -> None:
    fs = opendalfs.S3FileSystem(profile="work")
    assert fs.native["secret_access_key"] == "work-secret"
    assert "work-secret" not in f"{fs!r} {fs.fsid} {fs.to_json()}"
    assert "WORKKEY" not in f"{fs!r} {fs.fsid} {fs.to_json()}"


# S3: region and endpoint


@pytest.mark.parametrize(
    ("environment", "options", "region"),
    [
        ({"AWS_REGION": "env-region", "AWS_DEFAULT_REGION": "other"}, {"region": "opt-region"}, "opt-region"),
        ({"AWS_REGION": "env-region"}, {"client_kwargs": {"region_name": "opt-region"}}, "opt-region"),
        ({"AWS_REGION": "env-region"}, {}, "env-region"),
        ({"AWS_DEFAULT_REGION": "env-region"}, {}, "env-region"),
        ({}, {}, "def-region"),
        ({}, {"profile": "work"}, "work-region"),
        ({"AWS_PROFILE": "passing"}, {"profile": "work"}, "work-region"),
        # As in boto3, where a region of the environment stands before the one of a profile.
        ({"AWS_DEFAULT_REGION": "env-region"}, {"profile": "work"}, "env-region"),
    ],
)
@pytest.mark.usefixtures("files")
def test_the_region_of_the_options_signs(
    environment: dict[str, str],
    options: dict[str, Any],
    region: str,
    capture: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setenv(monkeypatch, environment)
    assert signer(first_request(capture, "s3", endpoint_url=capture.endpoint, **options))[1] == region


SERVICES_SECTION = """
[profile named]
services = local
endpoint_url = {url}/profile
aws_access_key_id = K
aws_secret_access_key = s

[services local]
dynamodb =
  endpoint_url = {url}/dynamodb
s3 =
  endpoint_url = {url}/services

[profile plain]
endpoint_url = {url}/profile
aws_access_key_id = K
aws_secret_access_key = s

[profile ignoring]
endpoint_url = http://127.0.0.1:9/profile
ignore_configured_endpoint_urls = true
aws_access_key_id = K
aws_secret_access_key = s
"""


@pytest.mark.parametrize(
    ("environment", "options", "place"),
    [
        ({"AWS_ENDPOINT_URL_S3": "s3", "AWS_ENDPOINT_URL": "all"}, {}, "s3"),
        ({"AWS_ENDPOINT_URL_S3": "s3", "AWS_ENDPOINT": "opendal"}, {}, "s3"),
        ({"AWS_ENDPOINT_URL": "all"}, {}, "all"),
        ({"AWS_ENDPOINT": "opendal"}, {}, "opendal"),
        ({"AWS_S3_ENDPOINT": "opendal"}, {}, "opendal"),
        ({}, {"profile": "plain"}, "profile"),
        ({"AWS_PROFILE": "plain"}, {}, "profile"),
        ({}, {"profile": "named"}, "services"),
        ({"AWS_ENDPOINT_URL_S3": "s3"}, {"profile": "named"}, "s3"),
        ({"AWS_ENDPOINT_URL": "all"}, {"profile": "named"}, "all"),
        ({"AWS_ENDPOINT_URL_S3": "s3"}, {"endpoint_url": "option"}, "option"),
        ({"AWS_ENDPOINT_URL": "all"}, {"endpoint_url": "option"}, "option"),
        ({"AWS_ENDPOINT_URL": "all"}, {"client_kwargs": {"endpoint_url": "option"}}, "option"),
        ({"AWS_ENDPOINT": "opendal"}, {"endpoint_url": "option"}, "option"),
        ({}, {"profile": "plain", "endpoint_url": "option"}, "option"),
        ({"AWS_ENDPOINT_URL_S3": "s3"}, {"anon": True}, "s3"),
    ],
)
def test_the_endpoint_comes_from_where_boto3_looks(
    environment: dict[str, str],
    options: dict[str, Any],
    place: str,
    files: Path,
    capture: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: at(inner) if "endpoint" in key else inner for key, inner in value.items()}
        return f"{capture.endpoint}/{value}"

    (files / "config").write_text(SERVICES_SECTION.format(url=capture.endpoint))
    setenv(
        monkeypatch, {name: value if "PROFILE" in name else at(value) for name, value in environment.items()}
    )
    given = {
        name: at(value) if "endpoint" in name or "client" in name else value
        for name, value in options.items()
    }
    assert first_request(capture, "s3", **given).target.startswith(f"/{place}/lake")


@pytest.mark.parametrize("where", ["profile", "environment"])
def test_endpoints_outside_the_options_may_be_ignored(
    where: str, files: Path, capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "config").write_text(SERVICES_SECTION.format(url=capture.endpoint))
    if where == "environment":
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", capture.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL", capture.endpoint)
    fs = opendalfs.S3FileSystem(profile="ignoring" if where == "profile" else "plain")
    assert fs.native.get("endpoint") == (
        "https://s3.us-east-1.amazonaws.com" if where == "environment" else None
    )


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
    fs_class = opendalfs.fs.services.filesystem_class(scheme)
    with pytest.raises(OptionError, match="account_key needs account_name"):
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
