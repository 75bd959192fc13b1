"""Errors: OSErrors that say what to do, with errno and filename, and never a secret."""

from __future__ import annotations

import errno
import pickle
import re
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import opendal
import opendal.exceptions
import pytest
from opendal.exceptions import ConfigInvalid, Unexpected

import opendalfs
from opendalfs import ChangedError, OptionError, UnsupportedError
from opendalfs.error_translation import translate_error
from opendalfs.errors import NoContainerError, RangeError
from opendalfs.testing import S3Server

Call = Callable[[Any, str], object]

# The table

EXPECTED = {
    "NotFound": (FileNotFoundError, errno.ENOENT),
    "PermissionDenied": (PermissionError, errno.EACCES),
    "AlreadyExists": (FileExistsError, errno.EEXIST),
    "IsADirectory": (IsADirectoryError, errno.EISDIR),
    "NotADirectory": (NotADirectoryError, errno.ENOTDIR),
    "IsSameFile": (OSError, errno.EINVAL),
    "ConditionNotMatch": (ChangedError, errno.ESTALE),
    "Conflict": (OSError, errno.EBUSY),
    "RateLimited": (OSError, errno.EBUSY),
    "RangeNotSatisfied": (RangeError, errno.EINVAL),
    "ConfigInvalid": (OptionError, errno.EINVAL),
    "Unsupported": (UnsupportedError, errno.ENOTSUP),
    "Unexpected": (OSError, errno.EIO),
}


def native_classes() -> set[str]:
    found = vars(opendal.exceptions).items()
    return {n for n, c in found if isinstance(c, type) and issubclass(c, Exception) and n != "Error"}


def translate(exc: BaseException, operation: str = "read", **kwargs: Any) -> OSError:
    error = translate_error(exc, operation, "lake/key", where="s3 'lake' at http://host", **kwargs)
    assert error is not None
    return error


def test_every_error_of_opendal_has_a_row() -> None:
    assert native_classes() == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_errors_have_errno_filename_and_cause(name: str) -> None:
    native = getattr(opendal.exceptions, name)
    error = translate(native(f"{name} (persistent) at read => something"))
    kind, number = EXPECTED[name]
    assert type(error) is kind
    assert (error.errno, error.filename) == (number, "lake/key")
    assert "(read on s3 'lake' at http://host)" in str(error)
    assert isinstance(error.__cause__, native)
    assert "something" in str(error.__cause__)


@pytest.mark.parametrize("name", EXPECTED)
def test_errors_can_be_pickled(name: str) -> None:
    error = translate(getattr(opendal.exceptions, name)("x"))
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), twin.errno, twin.filename, str(twin)) == (
        type(error),
        error.errno,
        "lake/key",
        str(error),
    )


def test_the_base_of_the_wheels_errors_is_no_base() -> None:
    assert not issubclass(opendal.exceptions.NotFound, opendal.exceptions.Error)


@pytest.mark.parametrize("exc", [ValueError("x"), OSError(5, "x"), OSError("x"), KeyboardInterrupt()])
def test_what_opendal_did_not_raise_is_left_alone(exc: BaseException) -> None:
    assert translate_error(exc, "read", "p", where="s3") is None


def test_bare_oserrors_of_file_objects_are_known_by_their_text() -> None:
    error = translate(OSError("NotFound (persistent) at read => gone"))
    assert type(error) is FileNotFoundError


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ('=> S3Error { code: "NoSuchBucket" }', NoContainerError, "No such bucket"),
        ('=> AzblobError { code: "ContainerNotFound" }', NoContainerError, "No such bucket"),
        ("=> io operation timeout reached", TimeoutError, "raise `timeout`"),
        (
            "=> signing http request\n\nSource:\n  failed to load signing credential",
            PermissionError,
            "anon=True",
        ),
        ("=> send http request\n\nSource:\n  connection refused", ConnectionError, "check the endpoint"),
        ("=> send http request\n\nSource:\n  dns error", ConnectionError, "check the endpoint"),
        ('=> S3Error { code: "PermanentRedirect" }', OptionError, "`region`"),
        ('=> S3Error { code: "AuthorizationHeaderMalformed" }', OptionError, "`region`"),
        ("=> Not a directory (os error 20)", NotADirectoryError, "Not a directory"),
        ("=> reader got too little data", RangeError, "past the end"),
    ],
)
@pytest.mark.parametrize("native", [Unexpected, ConfigInvalid])
@pytest.mark.parametrize(
    "context",
    [
        "at read {}\n\nContext:\n   path: k",
        "at read, context: {{ uri: http://h/k, response: Parts {{ }} }} {}",
    ],
)
def test_unknown_errors_are_classified_by_their_text(
    native: type[Exception], context: str, text: str, kind: type[OSError], says: str
) -> None:
    error = translate(native("Unexpected (temporary) " + context.format(text)))
    assert type(error) is kind
    assert says in str(error).splitlines()[0]


def answered(operation: str, request: str, uri: str, status: int) -> Unexpected:
    """Return what OpenDAL raises for an answer that it has no kind for."""
    response = f"Parts {{ status: {status}, version: HTTP/1.1 }}"
    context = f"service_operation: {request}\n   uri: {uri}\n   response: {response}"
    return Unexpected(
        f"Unexpected (permanent) at {operation} => <html>\n\nContext:\n   {context}\n   path: k"
    )


@pytest.mark.parametrize(
    ("request_", "uri", "status", "kind"),
    [
        ("Propfind", "http://h/k/", 400, NotADirectoryError),
        ("Propfind", "http://h/k", 400, OSError),
        ("Propfind", "http://h/k/", 500, OSError),
        ("Get", "http://h/k/", 400, OSError),
        ("Get", "http://h/k", 416, RangeError),
    ],
)
def test_responses_are_classified_by_request_and_status(
    request_: str, uri: str, status: int, kind: type[OSError]
) -> None:
    # Apache answers 400 when a file is asked for by a directory's name.
    assert type(translate(answered("stat", request_, uri, status))) is kind


@pytest.mark.parametrize("word", ["timeout.csv", "credential", "NoSuchBucket", "is a directory"])
@pytest.mark.parametrize(
    "form",
    [
        "Unexpected (temporary) at read => boom\n\nContext:\n   path: {}\n\nSource:\n   boom",
        "Unexpected (temporary) at read, context: {{ path: {}, response: Parts {{ status: 500 }} }} => boom",
    ],
)
def test_the_name_of_a_path_does_not_choose_the_error(word: str, form: str) -> None:
    error = translate(Unexpected(form.format(word)))
    assert (type(error), error.errno) == (OSError, errno.EIO)


@pytest.mark.parametrize("operation", ["write", "copy", "rename"])
def test_a_condition_that_fails_on_a_write_means_that_the_object_exists(operation: str) -> None:
    assert type(translate(opendal.exceptions.ConditionNotMatch("x"), operation)) is FileExistsError


# Dead servers


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def silent_port() -> Iterator[str]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


CALLS: dict[str, Call] = {
    "info": lambda fs, path: fs.info(path),
    "exists": lambda fs, path: fs.exists(path),
    "isdir": lambda fs, path: fs.isdir(path),
    "ls": lambda fs, path: fs.ls(path),
    "find": lambda fs, path: fs.find(path),
    "cat_file": lambda fs, path: fs.cat_file(path),
    "cat_ranges": lambda fs, path: fs.cat_ranges([path], [0], [3], on_error="raise"),
    "pipe_file": lambda fs, path: fs.pipe_file(path, b"x"),
    "open": lambda fs, path: fs.open(path).read(),
    "rm": lambda fs, path: fs.rm(path),
}
SECRETS = {"key": "AKIAEXAMPLEKEY", "secret": "hush-hush-secret", "token": "hush-hush-token"}


def caught(call: Call, fs: Any, path: str) -> OSError:
    with pytest.raises(OSError, match=r".") as info:
        call(fs, path)
    shown = "".join(traceback.format_exception(info.value)) + repr(info.value) + repr(fs)
    for secret in (*SECRETS.values(), "pw1234", "sasHUSHsas"):
        assert secret not in shown
    return info.value


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_server_that_never_answers_times_out_and_says_what_to_set(silent_port: str, call: Call) -> None:
    fs = opendalfs.S3FileSystem(endpoint_url=silent_port, timeout=0.3, io_timeout=0.3, **SECRETS)
    error = caught(call, fs, "lake/key")
    assert isinstance(error, TimeoutError)
    assert error.filename == "lake/key"
    assert "check the endpoint, or raise `timeout`" in str(error).splitlines()[0]
    assert silent_port in str(error).splitlines()[0]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_port_is_a_connection_error(closed_port: str, call: Call) -> None:
    fs = opendalfs.S3FileSystem(endpoint_url=closed_port, retries=1, timeout=30, io_timeout=30, **SECRETS)
    error = caught(call, fs, "lake/key")
    assert isinstance(error, ConnectionError)
    assert error.filename == "lake/key"
    assert "Cannot reach the server: check the endpoint" in str(error).splitlines()[0]


async def test_timeouts_keep_their_words_in_coroutines(silent_port: str) -> None:
    fs = opendalfs.S3FileSystem(asynchronous=True, endpoint_url=silent_port, timeout=0.3, **SECRETS)
    with pytest.raises(TimeoutError, match="check the endpoint"):
        await fs._info("lake/key")


@pytest.mark.parametrize(
    ("scheme", "options", "path"),
    [
        ("azblob", {"account_name": "acct", "sas_token": "sv=1&sig=sasHUSHsas"}, "box/key"),
        ("webdav", {"username": "me", "password": "pw1234"}, "key"),
        ("http", {"token": "hush-hush-token"}, "key"),
        ("swift", {"token": "hush-hush-token"}, "box/key"),
    ],
)
def test_errors_of_other_services_show_no_secret(
    closed_port: str, scheme: str, options: dict[str, str], path: str
) -> None:
    fs = opendalfs.filesystem(scheme, endpoint=closed_port, retries=1, **options)
    error = caught(CALLS["cat_file"], fs, path)
    assert isinstance(error, ConnectionError)


def test_a_password_in_an_endpoint_is_not_shown(closed_port: str) -> None:
    endpoint = closed_port.replace("://", "://me:pw1234@")
    fs = opendalfs.WebdavFileSystem(endpoint=endpoint, retries=1)
    assert "***@" in str(caught(CALLS["info"], fs, "key"))


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("azblob", {"endpoint": "http://h", "account_name": "a", "account_key": "pw1234%"}),
        ("postgresql", {"connection_string": "pw1234 host", "table": "t"}),
    ],
)
def test_a_refused_option_does_not_show_its_secret(scheme: str, options: dict[str, str]) -> None:
    fs = opendalfs.filesystem(scheme, **options)
    error = caught(lambda fs, path: fs.locate(path), fs, "box/key")
    assert isinstance(error, OptionError)
    assert re.search(r"rejects its options: .*invalid", str(error).splitlines()[0])


# A server that answers


@pytest.mark.parametrize("call", [c for n, c in CALLS.items() if n not in ("exists", "isdir")])
def test_a_missing_bucket_is_named(s3_server: S3Server, call: Call) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options)
    error = caught(call, fs, "no-such-bucket/key")
    assert isinstance(error, FileNotFoundError)
    first = str(error).splitlines()[0]
    assert "No such bucket or container" in first
    assert "'no-such-bucket'" in first


def test_nothing_exists_in_a_missing_bucket(s3_server: S3Server) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options)
    assert not fs.exists("no-such-bucket/key")
    assert not fs.exists("no-such-bucket")
    assert not fs.isdir("no-such-bucket/key")
    assert not fs.isfile("no-such-bucket/key")


@pytest.mark.parametrize("wrong", [{"secret": "hush-hush-secret"}, {"key": "AKIAEXAMPLEKEY"}])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_wrong_key_is_a_permission_error(s3_server: S3Server, call: Call, wrong: dict[str, str]) -> None:
    fs = opendalfs.S3FileSystem(**{**s3_server.options, **wrong})
    error = caught(call, fs, f"{s3_server.bucket}/key")
    assert isinstance(error, PermissionError)
    assert "check the credentials" in str(error).splitlines()[0]
    assert error.errno is not None
    assert "hush-hush-secret" not in str(error)


@pytest.mark.parametrize("call", [CALLS["info"], CALLS["cat_file"], CALLS["cat_ranges"], CALLS["pipe_file"]])
def test_missing_credentials_are_distinguished_from_wrong_ones(
    s3_server: S3Server, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    options = {"disable_config_load": True, "disable_ec2_metadata": True, "region": "us-east-1"}
    fs = opendalfs.S3FileSystem(endpoint_url=s3_server.endpoint, **options)
    error = caught(call, fs, f"{s3_server.bucket}/key")
    assert isinstance(error, PermissionError)
    assert re.search("No usable credentials: pass them .* or anon=True", str(error).splitlines()[0])


def test_a_missing_key_names_its_path(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options)
    for name in ("info", "cat_file", "cat_ranges", "open", "rm"):
        error = caught(CALLS[name], fs, f"{prefix}/nothing")
        assert isinstance(error, FileNotFoundError)
        assert not isinstance(error, NoContainerError)
        assert (error.errno, error.filename) == (errno.ENOENT, f"{prefix}/nothing")


@pytest.fixture
def s3(s3_server: S3Server) -> opendalfs.S3FileSystem:
    """Return an S3 filesystem with its own listings cache."""
    return opendalfs.filesystem("s3", skip_instance_cache=True, **s3_server.options)


def test_a_missing_bucket_is_a_file_not_found(s3: opendalfs.S3FileSystem) -> None:
    """OpenDAL raises ConfigInvalid."""
    bucket = f"missing-{uuid4().hex}"
    calls: list[Callable[[], Any]] = [
        lambda: s3.ls(bucket),
        lambda: s3.cat_file(f"{bucket}/key"),
        lambda: s3.pipe_file(f"{bucket}/key", b""),
        lambda: s3.info(f"{bucket}/key"),
    ]
    for call in calls:
        with pytest.raises(FileNotFoundError):
            call()
    assert not s3.exists(bucket)
    assert not s3.exists(f"{bucket}/key")


def test_a_key_with_repeated_slashes_is_refused(s3: opendalfs.S3FileSystem, s3_server: S3Server) -> None:
    """OpenDAL would read and write another key."""
    path = f"{s3_server.bucket}/{uuid4().hex}//b"
    with pytest.raises(ValueError, match="cannot be reached"):
        s3.pipe_file(path, b"")
    with pytest.raises(ValueError, match="cannot be reached"):
        s3.cat_file(path)
    with pytest.raises(ValueError, match="cannot be reached"):
        s3.rm(path, recursive=True)
