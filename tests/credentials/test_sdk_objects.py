"""Objects of boto3, google-auth and azure-identity as providers, and the tokens that servers see."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from azure.core.credentials import AccessToken
from azure.identity import ManagedIdentityCredential
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.oauth2 import service_account

import opendalfs
from opendalfs.credential_providers import CredentialProvider, fetch
from opendalfs.services import lookup
from opendalfs.testing import Moto, Request, Response, ScriptedServer

UDK = base64.b64encode(b"hush-delegation-key").decode()


class Identities:
    """Tokens of Google and of Azure, and objects for those that have them."""

    def __init__(self, seconds: int = 3600) -> None:
        self.seconds = seconds
        self.issued = 0
        self.refused: set[str] = set()

    def respond(self, request: Request) -> Response:
        path = request.target.partition("?")[0]
        if path in ("/token", "/msi"):
            self.issued += 1
            token = f"hush-token-{self.issued}"
            expires = {"expires_in": self.seconds, "expires_on": str(int(time.time()) + self.seconds)}
            body = {"access_token": token, "token_type": "Bearer", "resource": "r", **expires}
            return Response(200, {"Content-Type": "application/json"}, json.dumps(body).encode())
        if "comp=userdelegationkey" in request.target:
            return self._delegation_key(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.refused:
            return Response(401, {"WWW-Authenticate": "Bearer"}, b"")
        headers = {
            "Content-Type": "text/plain",
            "ETag": '"e"',
            "Last-Modified": "Thu, 26 Nov 2026 00:00:00 GMT",
        }
        return Response(200, headers, b"data")

    def _delegation_key(self, request: Request) -> Response:
        if request.headers["authorization"].removeprefix("Bearer ") in self.refused:
            return Response(403, {"x-ms-error-code": "AuthorizationPermissionMismatch"})
        start, end = re.findall("<(?:Start|Expiry)>(.*?)<", request.body.decode())
        fields = {"SignedOid": "oid", "SignedTid": "tid", "SignedStart": start, "SignedExpiry": end}
        fields |= {"SignedService": "b", "SignedVersion": "2022-11-02", "Value": UDK}
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
        return Response(200, {}, f"<UserDelegationKey>{inner}</UserDelegationKey>".encode())


@pytest.fixture
def identities(capture: ScriptedServer) -> Identities:
    found = Identities()
    capture.respond = found.respond
    return found


# Google


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def google(capture: ScriptedServer, private_key: str) -> Any:
    info = {
        "type": "service_account",
        "client_email": "me@project.invalid",
        "private_key": private_key,
        "token_uri": f"{capture.endpoint}/token",
    }
    return service_account.Credentials.from_service_account_info(info)


def gcs(capture: ScriptedServer, provider: Any) -> opendalfs.GcsFileSystem:
    return opendalfs.GcsFileSystem(
        credential_provider=provider, endpoint=capture.endpoint, skip_instance_cache=True
    )


def test_a_token_of_google_auth_is_sent(
    capture: ScriptedServer, identities: Identities, private_key: str
) -> None:
    fs = gcs(capture, google(capture, private_key))
    for _ in range(3):
        assert fs.cat_file("lake/key") == b"data"
    sent = [r.headers.get("authorization") for r in capture.requests if "/token" not in r.target]
    assert sent == ["Bearer hush-token-1"] * 3
    scope = parse_qs(capture.requests[0].body.decode())["assertion"][0].split(".")[1]
    assert b"devstorage.read_write" in base64.urlsafe_b64decode(scope + "===")
    assert "hush" not in repr(fs)


def test_a_token_that_google_refuses_is_renewed(
    capture: ScriptedServer, identities: Identities, private_key: str
) -> None:
    fs = gcs(capture, google(capture, private_key))
    fs.cat_file("lake/key")
    identities.refused.add("hush-token-1")
    assert fs.cat_file("lake/key") == b"data"
    assert capture.requests[-1].headers["authorization"] == "Bearer hush-token-2"
    assert identities.issued == 2


# Azure


@pytest.fixture
def managed_identity(
    capture: ScriptedServer, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> ManagedIdentityCredential:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{capture.endpoint}/msi")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    return ManagedIdentityCredential()


def azure(
    capture: ScriptedServer, provider: Any, scheme: str = "azblob"
) -> opendalfs.AzblobFileSystem | opendalfs.AzdlsFileSystem:
    cls = {"azblob": opendalfs.AzblobFileSystem, "azdls": opendalfs.AzdlsFileSystem}[scheme]
    return cls(
        credential_provider=provider,
        account_name="acct",
        endpoint=capture.endpoint,
        skip_instance_cache=True,
    )


@pytest.mark.parametrize("scheme", ["azblob", "azdls"])
def test_a_token_of_azure_identity_signs_for_each_container(
    scheme: str, capture: ScriptedServer, managed_identity: ManagedIdentityCredential
) -> None:
    fs = azure(capture, managed_identity, scheme)
    for name in ("lake", "lake", "pond"):
        assert fs.cat_file(f"{name}/key") == b"data"
    paths = [urlsplit(request.target).path for request in capture.requests]
    assert paths == ["/msi", "/", "/lake/key", "/lake/key", "/pond/key"]
    assert capture.requests[1].headers["authorization"] == "Bearer hush-token-1"
    for request in capture.requests[2:]:
        query = {name: value[0] for name, value in parse_qs(urlsplit(request.target).query).items()}
        assert "authorization" not in request.headers
        assert "hush" not in request.text
        assert query["sig"] == signature(query, request.target.split("/")[1])
    assert "hush" not in repr(fs)


def signature(query: dict[str, str], container: str) -> str:
    """Return the signature of the table in "Create a user delegation SAS", for version 2022-11-02."""
    lines = f"""{query["sp"]}

{query["se"]}
/blob/acct/{container}
oid
tid
{query["skt"]}
{query["ske"]}
b
2022-11-02





2022-11-02
c






"""
    digest = hmac.new(base64.b64decode(UDK), lines.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def test_a_coroutine_of_azure_identity_is_awaited(capture: ScriptedServer, identities: Identities) -> None:
    class Credential:
        async def get_token(self, *scopes: str) -> AccessToken:
            assert scopes == ("https://storage.azure.com/.default",)
            return AccessToken("hush-async", int(time.time()) + 3600)

    assert azure(capture, Credential()).cat_file("lake/key") == b"data"
    assert capture.requests[0].headers["authorization"] == "Bearer hush-async"


def test_a_token_without_the_role_names_it(
    capture: ScriptedServer, identities: Identities, managed_identity: ManagedIdentityCredential
) -> None:
    identities.refused.add("hush-token-1")
    with pytest.raises(PermissionError, match="AuthorizationPermissionMismatch") as caught:
        azure(capture, managed_identity).cat_file("lake/key")
    assert "assign the role Storage Blob Data Contributor" in str(caught.value)
    assert "hush" not in f"{caught.value} {caught.value.__cause__}"


def test_a_redirect_sends_the_token_to_no_other_server(
    capture: ScriptedServer, identities: Identities, managed_identity: ManagedIdentityCredential
) -> None:
    with ScriptedServer() as other:
        respond = capture.respond

        def redirect(request: Request) -> Response | None:
            if "userdelegationkey" in request.target:
                return Response(302, {"Location": f"{other.endpoint}/"})
            return respond(request)

        capture.respond = redirect
        with pytest.raises(PermissionError, match="302"):
            azure(capture, managed_identity).cat_file("lake/key")
        assert not other.requests


# AWS


def role(moto_server: Moto) -> boto3.Session:
    """Return a session with the temporary keys of an assumed role."""
    sts = boto3.client(
        "sts",
        endpoint_url=moto_server.endpoint,
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )
    found = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/r", RoleSessionName="session")[
        "Credentials"
    ]
    return boto3.Session(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def test_a_session_of_an_assumed_role_reads(moto_server: Moto) -> None:
    fs = opendalfs.S3FileSystem(
        credential_provider=lambda: role(moto_server), endpoint_url=moto_server.endpoint, region="us-east-1"
    )
    path = f"{moto_server.bucket}/assumed"
    fs.pipe_file(path, b"data")
    assert fs.cat_file(path) == b"data"
    fs.rm(path)


def test_a_function_is_called_again_when_its_session_has_failed() -> None:
    class Broken(boto3.Session):
        def get_credentials(self) -> None:
            raise OSError("its files are from yesterday")

    sessions = [Broken(), boto3.Session("k", "s")]
    provider = CredentialProvider.of(lambda: sessions.pop(0))
    with pytest.raises(OSError, match="from yesterday"):
        fetch(provider, lookup("s3"), {}, lambda _: None)
    assert fetch(provider, lookup("s3"), {}, lambda _: None).options("")["access_key_id"] == "k"


def test_an_object_for_another_service_is_an_error(capture: ScriptedServer) -> None:
    with pytest.raises(PermissionError, match="failed with OptionError") as caught:
        gcs(capture, boto3.Session("k", "s")).cat_file("lake/key")
    assert "a Session has credentials of s3, not of gcs: pass another one" in str(caught.value)


def test_a_session_without_credentials_says_so(files: object, capture: ScriptedServer) -> None:
    class Session(boto3.Session):
        def get_credentials(self) -> None:
            return None

    fs = opendalfs.S3FileSystem(
        credential_provider=Session(), endpoint_url=capture.endpoint, region="eu-1", skip_instance_cache=True
    )
    with pytest.raises(PermissionError, match="has found no credentials: check its profile"):
        fs.cat_file("lake/key")
