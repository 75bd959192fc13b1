"""S3: explicit options win over the environment and profiles, as the server sees it."""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import Request, Response, ScriptedServer
from tests.credentials.sent_requests import first_request, setenv

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "ENVKEY",
    "AWS_SECRET_ACCESS_KEY": "env-secret",
    "AWS_SESSION_TOKEN": "env-token",
}
OPTIONS = {"key": "OPTKEY", "secret": "opt-secret"}


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
        ({"profile": "missing"}, "no AWS profile 'missing'"),
        ({"profile": "process"}, "has a credential_process, which needs boto3: pip install boto3"),
        ({"profile": "role"}, "assumes a role, which needs boto3: pip install boto3"),
        ({"profile": "web"}, "assumes a role, which needs boto3: pip install boto3"),
        ({"profile": "sso"}, "uses single sign-on, but OpenDAL would use AWS_ACCESS_KEY_ID"),
        ({"profile": "session"}, "uses single sign-on, which needs boto3: pip install boto3"),
        ({"profile": "nothing"}, "has no credentials of its own, but OpenDAL would use AWS_ACCESS_KEY_ID"),
        ({"profile": "half"}, "has no access key or no secret"),
        ({"key": "OPTKEY"}, "access_key_id= without secret_access_key="),
        ({"secret": "opt-secret"}, "secret_access_key= without access_key_id="),
        ({"token": "opt-token"}, "session_token= without access_key_id= and secret_access_key="),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_opendal_would_pass_over_is_an_error_rather_than_another_account(
    options: dict[str, Any], says: str, capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    setenv(monkeypatch, ENVIRONMENT)
    monkeypatch.setattr("opendalfs.credentials.has_boto3", lambda: False)
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


# Azure


def key(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
