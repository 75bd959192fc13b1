"""OpenDAL's errors as the OSErrors that Python programs handle: one table, one function.

Every error raised here has an errno, the path as ``filename`` and a first line that says what to do;
OpenDAL's own text is its cause. Secrets are cut out of both.

::

    OSError
    ├── FileNotFoundError       NotFound
    │   └── NoContainerError    a bucket or container that does not exist
    ├── FileExistsError         AlreadyExists; a condition that failed on a write
    ├── PermissionError         PermissionDenied; no credentials
    ├── IsADirectoryError       IsADirectory
    ├── NotADirectoryError      NotADirectory
    ├── TimeoutError            no answer in time
    ├── ConnectionError         the server cannot be reached
    ├── ChangedError            the object is not the one that was opened
    ├── RangeError              a range past the end
    ├── OptionError             also a ValueError: an option is wrong or missing
    └── UnsupportedError        also a NotImplementedError: the service cannot do it
"""

from __future__ import annotations

import builtins
import errno
import os
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import opendal.exceptions as native

__all__ = [
    "ChangedError",
    "NoContainerError",
    "OptionError",
    "RangeError",
    "UnsupportedError",
    "redact",
    "translated",
]


class ChangedError(OSError):
    """The object changed while it was being read; what was read so far is of an older version."""


class NoContainerError(FileNotFoundError):
    """The bucket or container does not exist, so nothing in it does."""


class RangeError(OSError):
    """The range reaches past the end of the object; only calls below the filesystem raise it."""


class OptionError(OSError, ValueError):
    """An option is unknown, missing or of a wrong form."""


class UnsupportedError(OSError, NotImplementedError):
    """The service cannot do what was asked."""


class _Rule(NamedTuple):
    raises: type[OSError]
    errno: int
    says: str


_RULES: Final[dict[str, _Rule]] = {
    "NotFound": _Rule(FileNotFoundError, errno.ENOENT, "No such file or directory"),
    "PermissionDenied": _Rule(
        PermissionError,
        errno.EACCES,
        "Access denied: check the credentials and what they may do in this place",
    ),
    "AlreadyExists": _Rule(FileExistsError, errno.EEXIST, "File exists"),
    "IsADirectory": _Rule(IsADirectoryError, errno.EISDIR, "Is a directory"),
    "NotADirectory": _Rule(NotADirectoryError, errno.ENOTDIR, "Not a directory"),
    "IsSameFile": _Rule(OSError, errno.EINVAL, "Source and target are the same file"),
    "Conflict": _Rule(OSError, errno.EBUSY, "Another writer was at work on this object: try again"),
    "RateLimited": _Rule(
        OSError,
        # EAGAIN would make a BlockingIOError of it.
        errno.EBUSY,
        "The service asks for fewer requests: lower `concurrency` or raise `retries`",
    ),
    "RangeNotSatisfied": _Rule(RangeError, errno.EINVAL, "The range lies outside the object"),
    "ConfigInvalid": _Rule(OptionError, errno.EINVAL, "The service refuses these options"),
    "Unsupported": _Rule(UnsupportedError, errno.ENOTSUP, "The service cannot do this"),
    "Unexpected": _Rule(OSError, errno.EIO, "The service answered unexpectedly"),
}

_CHANGED: Final = _Rule(
    ChangedError, errno.ESTALE, "The object changed while it was being read: open it again"
)
_EXISTS: Final = _Rule(
    FileExistsError, errno.EEXIST, "The object exists, or is not the one that was expected"
)
_NO_CONTAINER: Final = _Rule(
    NoContainerError,
    errno.ENOENT,
    "No such bucket or container: create it with the service's own tools, or check its name",
)
_OTHER_REGION: Final = _Rule(
    OptionError,
    errno.EINVAL,
    "The bucket is in another region: pass it as `region`; `aws s3api get-bucket-location` finds it",
)
_TIMED_OUT: Final = _Rule(
    TimeoutError,
    errno.ETIMEDOUT,
    "No answer in time: check the endpoint, or raise `timeout` and `io_timeout` (seconds)",
)
_NO_CONNECTION: Final = _Rule(
    TimeoutError,
    errno.ETIMEDOUT,
    "No connection in time: check that the server runs, and its address, user and password",
)
_LOGIN: Final = _Rule(
    PermissionError, errno.EACCES, "The server refuses the login: check the user and the password"
)

# OpenDAL has one kind, Unexpected, for all that its services did not foresee, so the text must do.
# The first pattern that is found decides.
_TEXTS: Final[tuple[tuple[re.Pattern[str], _Rule], ...]] = (
    (re.compile(r"NoSuchBucket|ContainerNotFound|FilesystemNotFound", re.I), _NO_CONTAINER),
    (re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocation", re.I), _OTHER_REGION),
    (
        # Of redis, PostgreSQL, MySQL and FTP.
        re.compile(
            r"\bNOAUTH\b|\bWRONGPASS\b|invalid password|password authentication failed|no password supplied|"
            r"access denied for user|role .{1,80} does not exist|\[530\]",
            re.I,
        ),
        _LOGIN,
    ),
    (re.compile(r"timed? ?out|deadline has elapsed|timeout", re.I), _TIMED_OUT),
    (
        re.compile(r"received corrupt message of type InvalidContentType", re.I),
        _Rule(
            ConnectionError,
            errno.EPROTO,
            "The server does not speak TLS at this port: write http:// for https://, or check the port",
        ),
    ),
    (
        # What an https port does to plain HTTP, and what a server does that is being stopped.
        re.compile(r"connection closed before message completed", re.I),
        _Rule(
            ConnectionError,
            errno.ECONNRESET,
            "The server closed the connection: check that it runs, and http:// or https:// in the endpoint",
        ),
    ),
    (
        re.compile(r"invalid HTTP version parsed", re.I),
        _Rule(
            ConnectionError,
            errno.EPROTO,
            "The server does not answer in HTTP at this port: try https:// for http://, or check the port",
        ),
    ),
    (
        re.compile(r"invalid peer certificate", re.I),
        _Rule(
            ConnectionError,
            errno.EPROTO,
            "The server's certificate is not trusted: name its authority's file in SSL_CERT_FILE",
        ),
    ),
    (
        re.compile(r"credential|no valid .*sign|failed to sign|imds|metadata server|request signing", re.I),
        _Rule(
            PermissionError,
            errno.EACCES,
            "No usable credentials: give them as options or in the environment, or pass anon=True "
            "for public data",
        ),
    ),
    (
        re.compile(
            r"dns error|failed to lookup address|connection refused|connection reset|connect error|"
            r"tcp connect|error sending request|send http request|broken pipe|connection closed",
            re.I,
        ),
        _Rule(
            ConnectionError,
            errno.ECONNREFUSED,
            "Cannot reach the server: check the endpoint and the network",
        ),
    ),
    (
        re.compile(r"not a directory", re.I),
        _Rule(NotADirectoryError, errno.ENOTDIR, "Not a directory"),
    ),
    (
        # The second is what Rust's own copy says of a source that is one.
        re.compile(r"is a directory|neither a regular file nor", re.I),
        _Rule(IsADirectoryError, errno.EISDIR, "Is a directory"),
    ),
    (
        # The last is what OpenDAL says of a header that tells of no bytes at all.
        re.compile(r"too little data|failed to overlap|content range is invalid", re.I),
        _Rule(RangeError, errno.EINVAL, "The range reaches past the end of the object"),
    ),
)

# Also of a HEAD, whose answer has no body that could name the error.
_REGION: Final = re.compile(r'"x-amz-bucket-region": "([\w-]+)"')
_AZURE_CONTAINER: Final = re.compile(
    r'"x-ms-error-code": "(?:ContainerNotFound|FilesystemNotFound|ShareNotFound)"'
)
_MOVED: Final = re.compile(r"response: Parts \{ status: (?:301|307|400)\b")
# Services that OpenDAL has no kind for say so by their status; the second is FTP's.
_PAST_THE_END: Final = re.compile(
    r"uri: \S+\s+response: Parts \{ status: 416\b|^\s*Invalid response: .* REST position", re.M
)
# Apache's answer to a WebDAV question about a file whose name was given a slash, as a directory's.
_NOT_A_DIRECTORY: Final = re.compile(
    r"service_operation: Propfind\s+uri: \S*/\s+response: Parts \{ status: 400\b"
)
# HTTP's "range not satisfiable", which some services pass on as an answer that they did not expect.
_PAST_END: Final = re.compile(r"response: Parts \{ status: 416\b")
# Such as a full disk: the number that the operating system gave.
_SYSTEM: Final = re.compile(r"\(os error (\d+)\)")
_KIND: Final = re.compile(r"^(\w+) \((?:temporary|persistent|permanent)\)")
# Written in two ways, the second by the blocking and the reading calls.
_CONTEXT: Final = re.compile(r"\n\s*Context:.*?(?=\n\s*Source:|\Z)|, context: \{.*\}(?= => )", re.S)
_BACKTRACE: Final = re.compile(r"\n\s*Backtrace:.*", re.S)
_SIGNED: Final = re.compile(
    r"((?:(?<![a-z])sig|signature|x-amz-(?:signature|credential|security-token)|token|access_token|"
    r"password|secret|authorization)[\"']?\s*(?:[=:]|%3D|%3A)\s*[\"']?(?:(?:bearer|basic)\s+)?)[^&\s\"',}]+",
    re.I,
)
# As in urlsplit, the last @ before the path ends it: a password may hold others.
_USERINFO: Final = re.compile(r"(\w://)[^/\s]+@")
_WRITES: Final = frozenset({"write", "copy", "rename", "delete"})


def kind_of(exc: BaseException) -> str | None:
    """Name of OpenDAL's error kind, or None when OpenDAL did not raise it.

    Its File objects raise bare OSErrors that hold the kind in their text alone.
    """
    name, module = type(exc).__name__, type(exc).__module__
    if module.startswith("opendal") and name in _RULES:
        return name
    if module == "pyo3_runtime" and name == "PanicException":
        # A bug in the wheel. It is no Exception, so that it would end loops and threads of the user's.
        return "Unexpected"
    if type(exc) is OSError:
        found = _KIND.match(str(exc))
        if found is not None and found.group(1) in _RULES:
            return found.group(1)
    return None


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Cut secrets out of a text.

    Parameters
    ----------
    text : str
        Any text, such as an error of OpenDAL, which may hold signed URLs.
    secrets : iterable of str
        Values to cut out wherever they stand.

    Returns
    -------
    str
    """
    for secret in secrets:
        text = text.replace(secret, "***")
    return _USERINFO.sub(r"\1***@", _SIGNED.sub(r"\1***", text))


def without_userinfo(text: str) -> str:
    """Return a URL without the user and password before its host."""
    return _USERINFO.sub(r"\1", text)


def translated(
    exc: BaseException,
    operation: str,
    path: str,
    *,
    where: str,
    secrets: Iterable[str] = (),
    pinned: bool = False,
    region: str | None = None,
    silent: bool = False,
) -> OSError | None:
    """Turn an error of OpenDAL into an OSError that a person can act on.

    Parameters
    ----------
    exc : BaseException
        What was raised.
    operation : str
        What was being done, such as ``"read"``.
    path : str
        Where, as the user wrote it.
    where : str
        The service and its endpoint, for the message.
    secrets : iterable of str
        Values that must not show.
    pinned : bool
        Whether the call asked for one version; a failed condition then means the object changed.
    region : str, optional
        The region that requests are signed for.
    silent : bool
        Whether the service's client hides why it cannot connect, as `Service.silent` says.

    Returns
    -------
    OSError or None
        None when OpenDAL did not raise `exc`.
    """
    kind = kind_of(exc)
    if kind is None:
        return None
    text = redact(_BACKTRACE.sub("", str(exc)).strip(), secrets)
    # It becomes the context of the new error, which tracebacks leave out and other reports do not.
    exc.args = (text,)
    rule = _region_rule(text, region) or _rule(kind, text, operation, pinned)
    if silent and rule is _TIMED_OUT:
        rule = _NO_CONNECTION
    error = rule.raises(rule.errno, f"{rule.says} ({operation} on {where})", redact(path, secrets))
    error.__cause__ = getattr(native, kind, builtins.OSError)(text)
    error.__suppress_context__ = True
    return error


def _region_rule(text: str, region: str | None) -> _Rule | None:
    """Return the rule of an answer that names another region than the one asked."""
    if region is None or not _MOVED.search(text):
        return None
    found = _REGION.search(text)
    if found is None or found.group(1) == region:
        return None
    return _OTHER_REGION._replace(says=f"The bucket is in another region: pass region={found.group(1)!r}")


def _rule(kind: str, text: str, operation: str, pinned: bool) -> _Rule:
    if kind == "ConditionNotMatch":
        return _CHANGED if pinned or operation not in _WRITES else _EXISTS
    if kind == "NotFound" and _AZURE_CONTAINER.search(text):
        return _NO_CONTAINER
    if kind == "Unexpected" and _PAST_THE_END.search(text):
        return _RULES["RangeNotSatisfied"]
    if kind == "Unexpected" and _NOT_A_DIRECTORY.search(text):
        return _RULES["NotADirectory"]
    if kind in ("Unexpected", "ConfigInvalid"):
        # The context names the path and the URL, which may hold any word.
        reason = _CONTEXT.sub("", text)
        if operation == "read" and _PAST_END.search(text):
            return _RULES["RangeNotSatisfied"]
        for pattern, rule in _TEXTS:
            if pattern.search(reason):
                return rule
        if told := _SYSTEM.search(reason):
            return _Rule(OSError, int(told.group(1)), os.strerror(int(told.group(1))))
    return _RULES[kind]


_RULES["ConditionNotMatch"] = _CHANGED
