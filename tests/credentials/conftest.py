"""A server that records requests, and a home directory without credentials of the user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.testing import S3Server, ScriptedServer
from tests.credentials.expiring import Keys

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


@pytest.fixture
def keys(s3_server: S3Server) -> Keys:
    return Keys(s3_server)


@pytest.fixture
def front(keys: Keys) -> Iterator[ScriptedServer]:
    with ScriptedServer(keys.respond) as server:
        yield server


@pytest.fixture
def path(s3_server: S3Server, prefix: str) -> str:
    """Return the path of an object of 4 KiB."""
    name = f"{prefix}/{uuid4().hex}"
    opendalfs.filesystem("s3", **s3_server.options).pipe_file(name, bytes(range(256)) * 16)
    return name
