"""A provider that fails, hangs or ends the program is an error of one call, which shows no secret."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback

import opendal.exceptions
import pytest

import opendalfs
from opendalfs.credential_providers import CredentialProvider
from opendalfs.credential_providers.azure_sas import DelegationKey
from opendalfs.services import lookup
from opendalfs.storage import credentials
from opendalfs.storage.credentials import LiveCredentials
from opendalfs.testing import Response, ScriptedServer
from tests.credentials.expiring import Keys

DATA = bytes(range(256)) * 16


def test_a_provider_that_fails_does_no_harm_while_its_keys_are_valid(
    keys: Keys,
    front: ScriptedServer,
    path: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "_MARGIN_RATIO", 1.0)
    keys.most, keys.lifetime = 10**9, 100.0
    fs = opendalfs.S3FileSystem(**keys.options(front))
    fs.cat_file(path)
    keys.failure = RuntimeError("no network, token=hush-token-1")
    assert fs.cat_file(path) == DATA
    while not caplog.records:
        time.sleep(0.01)
    assert fs.cat_file(path) == DATA
    assert "Keys failed with RuntimeError" in caplog.text
    assert "hush" not in caplog.text


def test_the_error_of_a_provider_names_it(keys: Keys, front: ScriptedServer, path: str) -> None:
    fs = opendalfs.S3FileSystem(**keys.options(front))
    fs.cat_file(path)
    keys.expire()
    keys.failure = ValueError("the vault is sealed")
    for _ in range(2):
        with pytest.raises(
            PermissionError, match=r"provider tests\.credentials\.expiring\.Keys failed"
        ) as caught:
            fs.cat_file(path)
        assert "ValueError: the vault is sealed" in str(caught.value)
    keys.failure = None
    assert fs.cat_file(path) == DATA


def test_the_error_of_a_provider_shows_no_secret(keys: Keys, front: ScriptedServer, path: str) -> None:
    """A traceback shows the text of each cause."""
    keys.failure = RuntimeError("no answer: POST https://idp.invalid/token?client_secret=hush-hush")
    fs = opendalfs.S3FileSystem(**keys.options(front))
    with pytest.raises(PermissionError, match="RuntimeError: no answer") as caught:
        fs.cat_file(path)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_provider_that_never_returns_is_a_timeout(keys: Keys, front: ScriptedServer, path: str) -> None:
    keys.blocked.clear()
    fs = opendalfs.S3FileSystem(**keys.options(front), timeout=0.5)
    with pytest.raises(TimeoutError, match=r"Keys has returned nothing for 0\.5 s"):
        fs.cat_file(path)
    keys.blocked.set()


@pytest.mark.parametrize("coroutines", [False, True])
def test_a_provider_that_hung_once_is_called_again(
    coroutines: bool, keys: Keys, front: ScriptedServer, path: str
) -> None:
    keys.most = 10**9
    first, go, ended = threading.Event(), threading.Event(), threading.Event()

    def provider() -> object:
        found = keys()
        if not first.is_set():
            first.set()
            go.wait(60)
            ended.set()
        return found

    options = {**keys.options(front), "credential_provider": provider, "timeout": 1.0, "retries": 0}
    fs = opendalfs.S3FileSystem(**options)
    connection = fs.locate(path)[0]
    live = connection.credentials
    assert live is not None

    def authorize() -> None:
        asyncio.run(live.renew_async(1.0)) if coroutines else live.renew(1.0)

    with pytest.raises(TimeoutError, match="has returned nothing for 1 s"):
        authorize()
    authorize()
    go.set()
    ended.wait(60)
    # Until the worker of the first call has ended, too. Its keys are the older ones.
    while live._fetches:
        time.sleep(0.01)
    assert connection.credential_options()["session_token"] == "hush-token-2"
    assert keys.issued == 2


def test_a_provider_that_always_hangs_is_called_a_few_times(
    keys: Keys, front: ScriptedServer, path: str
) -> None:
    keys.blocked.clear()
    calls = []

    def provider() -> object:
        calls.append(1)
        return keys()

    options = {**keys.options(front), "credential_provider": provider}
    live = opendalfs.S3FileSystem(**options).locate(path)[0].credentials
    assert live is not None
    for _ in range(8):
        with pytest.raises(TimeoutError):
            live.renew(0.05)
    assert len(calls) <= 4
    keys.blocked.set()
    live.renew(60.0)
    assert live.fresh


@pytest.mark.parametrize("raised", [SystemExit(2), KeyboardInterrupt(), GeneratorExit()])
def test_a_provider_that_ends_the_program_is_an_error_of_one_call(
    raised: BaseException, keys: Keys, front: ScriptedServer, path: str
) -> None:
    """A thread of ours runs it, which is not the one to end."""
    keys.failure = raised
    fs = opendalfs.S3FileSystem(**keys.options(front))
    with pytest.raises(PermissionError, match=f"failed with {type(raised).__name__}"):
        fs.cat_file(path)
    keys.failure = None
    assert fs.cat_file(path) == DATA


def test_a_thread_that_cannot_be_started_is_an_error_of_one_call(
    keys: Keys, front: ScriptedServer, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise MemoryError

    fs = opendalfs.S3FileSystem(**keys.options(front))
    with monkeypatch.context() as patch:
        patch.setattr(credentials.workers, "start", fail)
        with pytest.raises(MemoryError):
            fs.cat_file(path)
    assert fs.cat_file(path) == DATA


DENIED = opendal.exceptions.PermissionDenied("response: Parts { status: 403")


def live(*tokens: str) -> LiveCredentials:
    """Return credentials whose provider returns these tokens, the last one again and again."""
    left = list(tokens)

    def source() -> object:
        token = left.pop(0) if len(left) > 1 else left[0]
        return {"key": "AKIA", "secret": "hush-secret", "token": token}, None

    return LiveCredentials(lookup("s3"), {}, CredentialProvider.of(source))


def test_old_credentials_of_many_containers_are_removed_from_texts() -> None:
    found = live(*(f"hush-token-{i}" for i in range(6)))
    for _ in range(6):
        found.refuse(DENIED, found.number, again=False)
        found.renew(60.0)
        for i in range(10):
            found.options(f"container-{i}")
    assert found.number == 6
    assert set(found.secrets) >= {f"hush-token-{i}" for i in range(2, 6)}


def test_credentials_that_were_refused_during_a_renewal_are_renewed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The renewal may have returned those that were refused."""
    entered, go, calls = threading.Event(), threading.Event(), []

    def source() -> object:
        calls.append(1)
        if len(calls) == 2:
            entered.set()
            go.wait(60)
        keys = {"key": "AKIA", "secret": "hush-secret", "token": "a" if len(calls) < 3 else "b"}
        return keys, time.time() + 100

    monkeypatch.setattr(credentials, "_MARGIN_RATIO", 1.0)
    found = LiveCredentials(lookup("s3"), {}, CredentialProvider.of(source))
    found.renew(60.0)
    found.renew(60.0)
    assert entered.wait(60)
    assert found.refuse(DENIED, found.number, again=False)
    threading.Timer(0.1, go.set).start()
    found.renew(60.0)
    assert (found.number, len(calls)) == (2, 3)


@pytest.mark.parametrize("answer", [None, Response(400)])
def test_a_key_named_expired_is_not_taken_for_expired_credentials(
    answer: Response | None, capture: ScriptedServer
) -> None:
    calls = []

    def provider() -> object:
        calls.append(1)
        return {"key": "AKIA", "secret": "hush-secret"}, None

    capture.respond = lambda request: Response(404) if request.method == "HEAD" else answer
    fs = opendalfs.S3FileSystem(
        endpoint_url=capture.endpoint,
        region="eu-1",
        credential_provider=provider,
        retries=0,
        skip_instance_cache=True,
    )
    for call in (lambda: fs.cat_file("b/reports/Expired.csv"), lambda: fs.pipe_file("b/Expired/stat", b"x")):
        with pytest.raises(OSError, match="on s3"):
            call()
    assert len(calls) == 1


def test_the_repr_of_a_key_of_azure_does_not_show_it() -> None:
    key = DelegationKey("account", "racwdl", 1.0, ("hush-oid",), "hush-key")
    assert repr(key) == "DelegationKey('account', 'racwdl', expires=1.0)"
    assert "hush" not in f"{key} {key!r} {[key]}"
