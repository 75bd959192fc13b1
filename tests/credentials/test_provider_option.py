"""The option `credential_provider`: its values, and how filesystems with one are cached and pickled."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import boto3
import cloudpickle
import google.oauth2.credentials
import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.credential_providers import CredentialProvider, fetch
from opendalfs.services import lookup
from opendalfs.testing import Request, Response, ScriptedServer
from tests.credentials.sent_requests import first_request

KEYS = {"key": "AKIAHUSH", "secret": "hush-secret", "token": "hush-token"}


def provider() -> tuple[dict[str, str], None]:
    return KEYS, None


async def async_provider() -> tuple[dict[str, str], None]:
    return KEYS, None


def session() -> boto3.Session:
    return boto3.Session("AKIAHUSH", "hush-secret", "hush-token")


class Vault:
    def __init__(self, role: str) -> None:
        self.role = role

    def __call__(self) -> tuple[dict[str, str], None]:
        return {**KEYS, "token": self.role}, None

    def credentials(self) -> tuple[dict[str, str], None]:
        return self()


def make(source: Any = provider, **options: Any) -> opendalfs.S3FileSystem:
    return opendalfs.S3FileSystem(credential_provider=source, region="eu-1", **options)


def fetched(source: Any, scheme: str = "s3") -> dict[str, str]:
    def wait(function: Any) -> Any:
        import asyncio

        return asyncio.run(function())

    return fetch(CredentialProvider.of(source), lookup(scheme), {}, wait).options("c")


@pytest.mark.parametrize(
    "names",
    [
        ("key", "secret", "token"),
        ("access_key_id", "secret_access_key", "session_token"),
        ("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
        ("AccessKeyId", "SecretAccessKey", "SessionToken"),
    ],
)
def test_keys_may_have_the_names_of_any_library(names: tuple[str, ...]) -> None:
    given = dict(zip(names, ("k", "s", "t"), strict=True))
    assert fetched(lambda: (given, None)) == {
        "access_key_id": "k",
        "secret_access_key": "s",
        "session_token": "t",
    }


@pytest.mark.parametrize(
    ("scheme", "given", "expected"),
    [
        ("gcs", {"bearer_token": "t"}, {"token": "t"}),
        ("gcs", {"credential": "c"}, {"credential": "c"}),
        ("azblob", {"azure_storage_sas_token": "?sv=1"}, {"sas_token": "sv=1"}),
        ("azdls", {"account_key": "a2V5"}, {"account_key": "a2V5"}),
    ],
)
def test_tokens_may_have_the_names_of_polars(
    scheme: str, given: dict[str, str], expected: dict[str, str]
) -> None:
    assert fetched(lambda: (given, None), scheme) == expected


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned a NoneType"),
        (("hush", "hush"), "returned a tuple"),
        ({"key": "hush"}, "returned no secret_access_key"),
        ({}, "returned no access_key_id and no secret_access_key"),
        ({**KEYS, "endpoint": "http://evil"}, "returned 'endpoint', which is no credential of s3"),
        ({"key": "", "secret": "hush"}, "returned 'key', which is empty or no string"),
        ({"key": 1, "secret": "hush"}, "returned 'key', which is empty or no string"),
        ((KEYS, "tomorrow"), "returned an expiry that is no ISO 8601 time"),
        ({**KEYS, "Expiration": "hush"}, "returned an expiry that is no ISO 8601 time"),
        ((KEYS, 1.8e12), "returned an expiry that is a float"),
    ],
)
def test_what_is_no_credential_is_an_error_without_the_value(returned: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        fetched(lambda: returned)
    assert "hush" not in str(caught.value)


def expiry(returned: Any) -> float:
    return fetch(CredentialProvider.of(lambda: returned), lookup("s3"), {}, lambda _: None).expires


@pytest.mark.parametrize("seconds", [100, 1e5])
def test_an_expiry_may_be_a_datetime_or_text_or_seconds(seconds: float) -> None:
    expected = datetime.now(UTC) + timedelta(seconds=seconds)
    text = expected.isoformat().replace("+00:00", "Z")
    for expires in (expected, expected.replace(tzinfo=None), expected.timestamp(), text):
        assert expiry((KEYS, expires)) == expected.timestamp()


@pytest.mark.parametrize("name", ["Expiration", "expiry_time", "expiry"])
def test_an_expiry_may_be_among_the_keys(name: str) -> None:
    """As STS and a ``credential_process`` return it."""
    expected = datetime.now(UTC) + timedelta(hours=1)
    assert expiry({**KEYS, name: expected}) == expected.timestamp()
    assert expiry({**KEYS, name: expected.isoformat(), "Version": "1"}) == expected.timestamp()
    assert expiry({**KEYS, name: None}) == float("inf")


class Chain:
    """A callable whose other methods have the names of those of SDKs."""

    token = expiry = None

    def get_credentials(self) -> dict[str, str]:
        return KEYS

    def get_token(self) -> str:
        return "hush"

    refresh = get_frozen_credentials = get_credentials

    def __call__(self) -> dict[str, str]:
        return self.get_credentials()


def test_a_callable_is_called_whatever_its_methods_are() -> None:
    assert fetched(Chain())["session_token"] == "hush-token"


@pytest.mark.parametrize(
    "source", [provider, async_provider, session, session(), Vault("r"), Vault("r").credentials]
)
def test_requests_are_signed_with_the_keys_of_the_provider(source: Any, capture: ScriptedServer) -> None:
    request = first_request(
        capture, "s3", credential_provider=source, endpoint_url=capture.endpoint, region="eu-1"
    )
    assert "Credential=AKIAHUSH/" in request.headers["authorization"]
    assert request.headers["x-amz-security-token"] in ("hush-token", "r")


def test_the_environment_and_profiles_are_not_used_beside_a_provider(
    capture: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "other")
    request = first_request(
        capture, "s3", credential_provider=provider, endpoint_url=capture.endpoint, region="eu-1"
    )
    assert "other" not in request.text


@pytest.mark.parametrize("value", ["hush", 5, {"key": "hush"}, (KEYS, None)])
def test_another_value_is_an_error_that_does_not_show_it(value: Any) -> None:
    with pytest.raises(OptionError, match="credential_provider must be a callable") as caught:
        make(value)
    assert "hush" not in str(caught.value)


def test_a_provider_beside_credentials_is_an_error() -> None:
    for options in ({"key": "k", "secret": "s"}, {"token": "t"}, {"anon": True}):
        with pytest.raises(OptionError, match=r"credential_provider= and \w+=: pass one of them"):
            make(**options)
    with pytest.raises(OptionError, match="needs the account: pass account_name="):
        opendalfs.AzblobFileSystem(credential_provider=provider)


def test_a_service_without_providers_says_so() -> None:
    with pytest.raises(OptionError, match="oss takes no credential_provider"):
        opendalfs.filesystem("oss", credential_provider=provider)


def test_nothing_shows_a_credential() -> None:
    fs = make(skip_instance_cache=True)
    connection = fs.locate("lake/key")[0]
    connection.authorize()
    assert connection.credential_options()["session_token"] == "hush-token"
    assert "test_provider_option.provider" in repr(fs)
    shown = f"{fs!r} {fs} {fs.fsid} {fs.storage_options} {connection!r} {fs.to_json(include_password=False)}"
    assert "hush" not in shown.lower()


def test_an_error_of_the_server_that_repeats_a_token_does_not_show_it(capture: ScriptedServer) -> None:
    def respond(request: Request) -> Response:
        text = f"<Error><Code>Odd</Code><Message>{request.headers['x-amz-security-token']}</Message></Error>"
        return Response(418, {"x-odd": request.headers["authorization"]}, text.encode())

    capture.respond = respond
    fs = make(endpoint_url=capture.endpoint, skip_instance_cache=True)
    with pytest.raises(OSError, match="Unexpected") as caught:
        fs.cat_file("lake/key")
    assert "hush" not in f"{caught.value} {caught.value.__cause__}"


# Instances


def test_equal_providers_share_an_instance_and_others_do_not() -> None:
    assert make() is make()
    one, other = session(), session()
    assert repr(one) == repr(other)
    first, second = make(one), make(other)
    assert first is not second
    assert first is make(one)
    assert first.locate("lake/k")[0] is not second.locate("lake/k")[0]
    vault = Vault("r")
    kept = make(vault.credentials)
    assert kept is make(vault.credentials)
    assert kept is not make(Vault("r").credentials)


def test_containers_share_the_credentials() -> None:
    calls = []

    def counted() -> Any:
        calls.append(1)
        return KEYS, None

    fs = make(counted)
    for name in ("lake", "pond"):
        fs.locate(f"{name}/key")[0].authorize()
    assert len(calls) == 1


@pytest.mark.parametrize("source", [provider, async_provider, session, Vault("r"), Vault("r").credentials])
def test_a_pickle_holds_the_recipe_and_not_the_token(source: Any) -> None:
    fs = make(source, skip_instance_cache=True)
    connection = fs.locate("lake/key")[0]
    connection.authorize()
    text = pickle.dumps(fs)
    assert b"hush" not in text
    other = pickle.loads(text).locate("lake/key")[0]
    other.authorize()
    assert other.credential_options() == connection.credential_options()


class Holder:
    """A callable with an object that holds a token."""

    def __init__(self, held: Any) -> None:
        self.held = [{"credentials": held}]

    def __call__(self) -> Any:
        return self.held[0]["credentials"]

    def credentials(self) -> Any:
        return self()


def returned(value: Any) -> Any:
    return value


class Derived(google.oauth2.credentials.Credentials):
    """Credentials of a user's own class, which keep a token as those of google-auth do."""


GOOGLE = google.oauth2.credentials.Credentials("hush-token", refresh_token="hush-refresh")
HOLDERS = [
    Holder(GOOGLE),
    Holder(Derived("hush-token")),
    Holder(GOOGLE).credentials,
    partial(returned, GOOGLE),
    partial(Holder(GOOGLE)),
]


def closure(held: Any) -> Any:
    """Return a function that no module holds, which cloudpickle pickles with what it refers to."""
    return lambda: held


@pytest.mark.parametrize(
    "source", [session(), session().get_credentials(), lambda: (KEYS, None), GOOGLE, *HOLDERS]
)
def test_what_cannot_be_pickled_says_what_to_do(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cloudpickle")
    with pytest.raises(pickle.PicklingError, match="cannot pickle the credential_provider") as caught:
        pickle.dumps(make(source))
    assert "pass a function of a module that returns it" in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("source", [*HOLDERS, closure(GOOGLE), closure([session()])])
def test_cloudpickle_pickles_no_token_that_an_object_holds(source: Any) -> None:
    with pytest.raises(pickle.PicklingError, match="cannot pickle the credential_provider"):
        cloudpickle.dumps(make(source))


def test_the_pickles_of_a_provider_share_its_credentials() -> None:
    """As the tasks of Dask do in one worker: there is one fetch, not one for each task."""
    vault = Vault("r")
    here = make(vault)
    text = pickle.dumps(here)
    assert pickle.loads(text) == here
    provider = here.storage_options["credential_provider"]
    assert pickle.loads(pickle.dumps(provider)) is provider
    code = (
        "import pickle, sys; a, b = (pickle.loads(bytes.fromhex(sys.argv[1])) for _ in range(2));"
        "assert a is b; assert a.locate('lake/k')[0] is b.locate('lake/k')[0]"
    )
    subprocess.run([sys.executable, "-c", code, text.hex()], check=True, timeout=60)
    vault.role = "other"
    other = pickle.loads(pickle.dumps(make(vault, skip_instance_cache=True))).locate("lake/k")[0]
    other.authorize()
    assert other.credential_options()["session_token"] == "other"


def test_a_pickle_of_polars_holds_no_token() -> None:
    import polars as pl

    source = pl.CredentialProviderAWS(profile_name="none")
    source._cached_credentials.set((KEYS, None))
    assert b"hush" not in pickle.dumps(make(source))


def test_dask_may_pickle_a_function_by_value() -> None:
    fs = make(lambda: ({**KEYS, "token": "by-value"}, None))
    other = pickle.loads(cloudpickle.dumps(fs)).locate("lake/key")[0]
    other.authorize()
    assert other.credential_options()["session_token"] == "by-value"


def test_json_holds_no_provider() -> None:
    fs = make()
    with pytest.raises(OptionError, match="JSON cannot hold the credential_provider"):
        fs.to_json()
    found = json.loads(fs.to_json(include_password=False))
    assert found["region"] == "eu-1"
    assert "credential_provider" not in found


FORKED = """
import os, sys
import opendalfs

def provider():
    return {"key": "k", "secret": "s"}, None

fs = opendalfs.S3FileSystem(credential_provider=provider, region="eu-1", endpoint_url=sys.argv[1], retries=0)
if sys.argv[2] == "used":
    fs.exists("lake/key")
child = os.fork()
if child == 0:
    try:
        print(fs.exists("lake/key"), flush=True)
    except opendalfs.ForkError as exc:
        print("ForkError", flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(("before", "output"), [("used", "ForkError"), ("unused", "False")])
def test_a_forked_child_follows_the_rule_of_forks(before: str, output: str, capture: ScriptedServer) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, capture.endpoint, before],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.stdout.strip() == output
