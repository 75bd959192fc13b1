"""AWS profiles whose credentials boto3 gets: a process, roles, web identity and single sign-on."""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import Moto, Request, Response, ScriptedServer
from tests.credentials.sent_requests import first_request

PROCESS = """
import json, sys
print(json.dumps({"Version": 1, "AccessKeyId": "PROCESS", "SecretAccessKey": "s", "SessionToken": "t",
    "Expiration": sys.argv[1]}))
"""


@pytest.fixture
def config(files: Path, moto_server: Moto) -> Path:
    """Write profiles of each kind; STS and single sign-on are moto."""
    script, token = files / "process.py", files / "web-token"
    script.write_text(PROCESS)
    token.write_text("web-identity-token")
    expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    role = "role_arn = arn:aws:iam::123456789012:role/r\nservices = local"
    (files / "config").write_text(
        f"""
[profile process]
credential_process = {sys.executable} {script} {expires}

[profile role]
{role}
source_profile = work

[profile web]
{role}
web_identity_token_file = {token}

[profile session]
sso_session = company
sso_account_id = 123456789012
sso_role_name = r

[profile incomplete]
sso_start_url = https://sso.invalid/start
sso_region = us-east-1

[profile start url]
sso_start_url = https://sso.invalid/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = r

[profile login]
login_session = arn:aws:iam::123456789012:user/u

[profile "quoted role"]
{role}
source_profile = work

[sso-session company]
sso_start_url = https://sso.invalid/start
sso_region = us-east-1

[services local]
sts =
  endpoint_url = {moto_server.endpoint}
"""
    )
    return files


@pytest.mark.parametrize(("profile", "key"), [("process", "PROCESS"), ("role", "ASIA"), ("web", "ASIA")])
@pytest.mark.parametrize("by_variable", [False, True])
def test_boto3_gets_the_credentials_of_a_profile(
    profile: str,
    key: str,
    by_variable: bool,
    config: Path,
    capture: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: dict[str, Any] = {} if by_variable else {"profile": profile}
    if by_variable:
        monkeypatch.setenv("AWS_PROFILE", profile)
    request = first_request(capture, "s3", endpoint_url=capture.endpoint, region="eu-1", **options)
    assert f"Credential={key}" in request.headers["authorization"]
    assert request.headers["x-amz-security-token"]


def test_a_profile_of_the_options_is_used_before_keys_of_the_environment(
    config: Path, capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    for profile, key in (("process", "PROCESS"), (None, "ENVKEY")):
        capture.requests.clear()
        request = first_request(capture, "s3", endpoint_url=capture.endpoint, region="eu-1", profile=profile)
        assert f"Credential={key}" in request.headers["authorization"]


def test_a_session_of_single_sign_on_that_has_expired_says_so(config: Path, capture: ScriptedServer) -> None:
    fs = opendalfs.S3FileSystem(profile="session", endpoint_url=capture.endpoint, region="eu-1")
    with pytest.raises(PermissionError, match=r"AwsProfile 'session' failed with \w*TokenLoadError"):
        fs.cat_file("lake/key")
    assert not capture.requests


def test_a_session_of_single_sign_on_uses_its_cached_token(
    config: Path, capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"accessKeyId": "SSOKEY", "secretAccessKey": "s", "sessionToken": "t", "expiration": 4 * 10**12}
    token = {"accessToken": "sso-token", "expiresAt": "2099-01-01T00:00:00Z", "region": "us-east-1"}

    def respond(request: Request) -> Response:
        if not request.target.startswith("/federation/credentials"):
            return Response(404)
        headers = {"Content-Type": "application/json"}
        return Response(200, headers, json.dumps({"roleCredentials": keys}).encode())

    capture.respond = respond
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", capture.endpoint)
    # botocore has read HOME when it was imported.
    monkeypatch.setattr("botocore.tokens.SSOTokenProvider._SSO_TOKEN_CACHE_DIR", str(config))
    (config / f"{hashlib.sha1(b'company').hexdigest()}.json").write_text(json.dumps(token))
    # Another role than in other tests, whose session is kept.
    text = (config / "config").read_text().replace("sso_role_name = r", f"sso_role_name = {uuid4().hex}")
    (config / "config").write_text(text)
    fs = opendalfs.S3FileSystem(
        profile="session", endpoint_url=capture.endpoint, region="eu-1", retries=0, skip_instance_cache=True
    )
    with suppress(OSError):
        fs.info("lake/key")
    assert capture.requests[0].headers["x-amz-sso_bearer_token"] == "sso-token"
    assert "Credential=SSOKEY/" in capture.requests[-1].headers["authorization"]


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize(
    ("profile", "does"),
    [
        ("process", "has a credential_process"),
        ("role", "assumes a role"),
        ("web", "assumes a role"),
        ("session", "uses single sign-on"),
        ("login", "has a login_session"),
        ("incomplete", "uses single sign-on"),
        ("quoted role", "assumes a role"),
    ],
)
def test_a_profile_without_boto3_says_what_to_install(
    profile: str, does: str, by_variable: bool, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenDAL would look for other credentials, such as those of the machine."""
    monkeypatch.setattr("opendalfs.credentials.has_boto3", lambda: False)
    options: dict[str, Any] = {} if by_variable else {"profile": profile}
    if by_variable:
        monkeypatch.setenv("AWS_PROFILE", profile)
    says = f"the AWS profile '{profile}' {does}, which needs boto3: pip install boto3"
    with pytest.raises(OptionError, match=says):
        opendalfs.S3FileSystem(region="eu-1", skip_instance_cache=True, **options)


@pytest.mark.parametrize("by_variable", [False, True])
def test_opendal_signs_on_by_the_start_url_of_a_profile(
    by_variable: bool, config: Path, capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no boto3 for that. Without a session it must not go on to the credentials of the machine."""
    monkeypatch.setattr("opendalfs.credentials.has_boto3", lambda: False)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{capture.endpoint}/machine")
    monkeypatch.setenv("AWS_SSO_ENDPOINT", f"{capture.endpoint}/federation/credentials")
    keys = {"accessKeyId": "SSOKEY", "secretAccessKey": "s", "sessionToken": "t", "expiration": 4 * 10**12}
    token = {"accessToken": "sso-token", "expiresAt": "2099-01-01T00:00:00Z", "region": "us-east-1"}

    def respond(request: Request) -> Response:
        body = json.dumps({"roleCredentials": keys}).encode()
        return Response(200, body=body) if request.target.startswith("/federation") else Response(404)

    capture.respond = respond
    if by_variable:
        monkeypatch.setenv("AWS_PROFILE", "start url")
    cache = config / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    for expires, says in (
        ("2001-01-01T00:00:00Z", "aws sso login"),
        ("2099-01-01T00:00:00Z", "No such file"),
    ):
        token["expiresAt"] = expires
        name = hashlib.sha1(b"https://sso.invalid/start").hexdigest()
        (cache / f"{name}.json").write_text(json.dumps(token))
        options: dict[str, Any] = {} if by_variable else {"profile": "start url"}
        # OpenDAL keeps credentials with an operator, of which there is one for each region.
        fs = opendalfs.S3FileSystem(endpoint_url=capture.endpoint, region=uuid4().hex, retries=0, **options)
        with pytest.raises(OSError, match=says):
            fs.info("lake/key")
    assert [request.target.partition("?")[0] for request in capture.requests] == [
        "/federation/credentials",
        "/lake/key",
        "/lake",
    ]
    assert "Credential=SSOKEY/" in capture.requests[-1].headers["authorization"]


def test_single_sign_on_yields_to_keys_of_the_environment(
    config: Path, capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opendalfs.credentials.has_boto3", lambda: False)
    for name, value in (("PROFILE", "session"), ("ACCESS_KEY_ID", "ENVKEY"), ("SECRET_ACCESS_KEY", "s")):
        monkeypatch.setenv(f"AWS_{name}", value)
    request = first_request(capture, "s3", endpoint_url=capture.endpoint, region="eu-1")
    assert "Credential=ENVKEY/" in request.headers["authorization"]


def test_opendal_would_use_the_role_of_a_container_before_single_sign_on(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opendalfs.credentials.has_boto3", lambda: False)
    monkeypatch.setenv("AWS_PROFILE", "start url")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/")
    with pytest.raises(OptionError, match="OpenDAL would use AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        opendalfs.S3FileSystem(region="eu-1", skip_instance_cache=True)


def test_filesystems_of_a_profile_share_its_credentials_until_the_files_change(config: Path) -> None:
    def make() -> Any:
        return opendalfs.S3FileSystem(profile="process", region="eu-1", skip_instance_cache=True)

    first = make()
    assert first.provider is make().provider
    text = (config / "config").read_text()
    (config / "config").write_text(text.replace(" process.py", " other.py").replace(".py ", ".py  "))
    assert first.provider is not make().provider
    assert json.loads(first.to_json())["profile"] == "process"
