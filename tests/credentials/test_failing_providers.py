"""A provider that fails, hangs or ends the program is an error of one call, which shows no secret."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import opendal.exceptions
import pytest

import opendalfs
from opendalfs.credential_providers import CredentialProvider
from opendalfs.credential_providers.azure_sas import DelegationKey
from opendalfs.runtime.tasks import run
from opendalfs.services import lookup
from opendalfs.storage import credentials
from opendalfs.storage.credentials import LiveCredentials
from opendalfs.testing import Request, Response, S3Server, ScriptedServer
from tests.credentials.expiring import Keys
from tests.waiting import eventually

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
    keys.failure = RuntimeError("no network, token=hush-token-1\nhush")
    assert fs.cat_file(path) == DATA
    while not caplog.records:
        time.sleep(0.01)
    assert fs.cat_file(path) == DATA
    assert "Keys failed with RuntimeError" in caplog.text
    assert "hush" not in caplog.text


@pytest.fixture
def denied(front: ScriptedServer, s3_server: S3Server) -> str:
    """Return the path of an object that nobody may read."""
    respond = front.respond
    front.respond = lambda request: Response(403) if "denied" in request.target else respond(request)
    return f"{s3_server.bucket}/denied"


def test_a_denied_object_does_no_harm_to_others_while_the_provider_fails(
    keys: Keys, front: ScriptedServer, path: str, denied: str
) -> None:
    keys.most = 10**9
    fs = opendalfs.S3FileSystem(**keys.options(front))
    assert fs.cat_file(path) == DATA
    keys.failure = ValueError("the vault is sealed")
    with pytest.raises(PermissionError, match="Access denied"):
        fs.cat_file(denied)
    assert fs.cat_file(path) == DATA


def test_other_requests_do_not_wait_for_the_new_keys_of_a_denied_one(
    keys: Keys, front: ScriptedServer, path: str, denied: str
) -> None:
    keys.most = 10**9
    entered = threading.Event()

    def provider() -> object:
        entered.set()
        return keys()

    fs = opendalfs.S3FileSystem(**{**keys.options(front), "credential_provider": provider})
    assert fs.cat_file(path) == DATA
    entered.clear()
    keys.blocked.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fs.cat_file, denied)
        assert entered.wait(60)
        assert fs.cat_file(path) == DATA
        assert not waiting.done()
        keys.blocked.set()
        with pytest.raises(PermissionError, match="Access denied"):
            waiting.result(60)
    assert keys.issued == 2


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


class Hanging:
    """A provider whose calls hang, if their number is in `hanging`, until `go` is set."""

    def __init__(self, *hanging: int, then: Callable[[], object] = lambda: None) -> None:
        self.hanging = hanging
        self.then = then
        self.calls: list[int] = []
        self.go = threading.Event()

    def __call__(self) -> object:
        number = len(self.calls)
        self.calls.append(number)
        if number in self.hanging:
            self.go.wait(60)
            self.then()
        return {"key": "AKIA", "secret": "hush-secret", "token": f"hush-{number}"}, time.time() + 100

    def live(self) -> LiveCredentials:
        return LiveCredentials(lookup("s3"), {}, CredentialProvider.of(self))


def renewed(found: LiveCredentials) -> bool:
    """Wait a moment for a renewal; return whether there are credentials."""
    with suppress(TimeoutError):
        found.renew(0.05)
    return found.number > 0


def test_a_renewal_that_hangs_in_the_background_is_begun_again_before_the_expiry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "_MARGIN_RATIO", 1.0)
    provider = Hanging(1)
    found = provider.live()
    found.renew(60.0)

    def begins_again() -> bool:
        # Returns at once, as the first credentials are valid.
        found.renew(0.2)
        return found.number > 1

    assert eventually(begins_again)
    assert found.options("")[1]["session_token"] not in ("hush-0", "hush-1")
    provider.go.set()


def test_whoever_waits_for_a_call_that_hangs_goes_on_with_what_a_later_one_returns() -> None:
    provider = Hanging(0)
    found = provider.live()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(found.renew, 60.0)
        assert eventually(lambda: bool(provider.calls))
        assert eventually(lambda: renewed(found))
        waiting.result(30)
    assert found.options("")[1]["session_token"] != "hush-0"
    provider.go.set()


def test_a_late_failure_does_not_concern_newer_credentials(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise TimeoutError("no answer")

    provider = Hanging(0, then=fail)
    found = provider.live()
    assert eventually(lambda: renewed(found))
    provider.go.set()
    assert eventually(lambda: not found._fetches)
    assert found.fresh
    assert not caplog.records


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
        found.renew(60.0, wait=True)
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
    found.renew(60.0, wait=True)
    assert (found.number, len(calls)) == (2, 3)


def all_texts(exc: BaseException | None) -> list[str]:
    """Return the texts of an error and of all that led to it, also those that a traceback leaves out."""
    if exc is None:
        return []
    return [f"{exc} {exc!r} {exc.args}", *all_texts(exc.__cause__), *all_texts(exc.__context__)]


@pytest.mark.parametrize("fails", [False, True])
def test_the_error_of_an_earlier_attempt_shows_no_secret(fails: bool, capture: ScriptedServer) -> None:
    calls = []

    def provider() -> object:
        calls.append(1)
        if fails and len(calls) > 1:
            raise RuntimeError("no network")
        return {"key": "AKIA", "secret": "hush-secret", "token": "hush-token"}, None

    def respond(request: Request) -> Response:
        token = request.headers["x-amz-security-token"]
        return Response(
            400, {}, f"<Error><Code>ExpiredToken</Code><Message>{token}</Message></Error>".encode()
        )

    capture.respond = respond
    fs = opendalfs.S3FileSystem(
        endpoint_url=capture.endpoint,
        region="eu-1",
        credential_provider=provider,
        retries=0,
        skip_instance_cache=True,
    )
    with pytest.raises(PermissionError, match=r"expired|no network") as caught:
        run(fs.locate("lake/d")[0].remove_all, "d/")
    texts = all_texts(caught.value)
    assert "ExpiredToken" in "".join(texts)
    assert "hush" not in "".join(texts)


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
