"""The translation of OpenDAL's errors to the OSErrors that Python programs handle.

Every translated error has an errno, the path as ``filename``, and a first line that says what to do. Its
cause holds OpenDAL's own text. Secrets are removed from both.
"""

from __future__ import annotations

import builtins
import errno
import os
import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import opendal.exceptions as native

from .errors import ChangedError, NoContainerError, OptionError, RangeError, UnsupportedError, redact

__all__ = ["kind_of", "other_region", "reason_of", "redact_causes", "translate_error"]


class _Rule(NamedTuple):
    raises: type[OSError]
    errno: int
    text: str


_RULES: Final[dict[str, _Rule]] = {
    "NotFound": _Rule(FileNotFoundError, errno.ENOENT, "No such file or directory"),
    "PermissionDenied": _Rule(
        PermissionError,
        errno.EACCES,
        "Access denied: check the credentials and their permissions",
    ),
    "AlreadyExists": _Rule(FileExistsError, errno.EEXIST, "File exists"),
    "IsADirectory": _Rule(IsADirectoryError, errno.EISDIR, "Is a directory"),
    "NotADirectory": _Rule(NotADirectoryError, errno.ENOTDIR, "Not a directory"),
    "IsSameFile": _Rule(OSError, errno.EINVAL, "Source and target are the same file: choose another target"),
    "Conflict": _Rule(OSError, errno.EBUSY, "Another writer is changing the object: try again"),
    "RateLimited": _Rule(
        OSError,
        # OSError(EAGAIN) would be a BlockingIOError.
        errno.EBUSY,
        "Too many requests for the service: lower `concurrency`, or raise `retry_timeout`",
    ),
    "RangeNotSatisfied": _Rule(RangeError, errno.EINVAL, "The range is outside the object: check its size"),
    "ConfigInvalid": _Rule(
        OptionError, errno.EINVAL, "The service does not accept the options: see the error's __cause__"
    ),
    "Unsupported": _Rule(
        UnsupportedError, errno.ENOTSUP, "The service does not support this: see the error's __cause__"
    ),
    "Unexpected": _Rule(OSError, errno.EIO, "Unexpected response of the service: see the error's __cause__"),
}

_CHANGED: Final = _Rule(
    ChangedError, errno.ESTALE, "The object changed while it was being read: open it again"
)
_EXISTS: Final = _Rule(
    FileExistsError,
    errno.EEXIST,
    "The object exists or has changed: choose another name, or read it again",
)
_NO_CONTAINER: Final = _Rule(
    NoContainerError,
    errno.ENOENT,
    "No such bucket or container: create it with the service's own tools, or check its name",
)
_OTHER_REGION: Final = _Rule(
    OptionError,
    errno.EINVAL,
    "The bucket is in another region: pass it as `region`",
)
_EXPIRED: Final = _Rule(
    PermissionError,
    errno.EACCES,
    "The credentials have expired: pass new ones, or a credential_provider that renews them",
)
_EXPIRED_AGAIN: Final = _EXPIRED._replace(
    text="The provider's credentials have expired: repeat a long upload, or check what it returns"
)
_TIMED_OUT: Final = _Rule(
    TimeoutError,
    errno.ETIMEDOUT,
    "No response in time: check the endpoint, or raise `timeout` and `io_timeout`",
)
_TOO_LARGE: Final = _Rule(
    OSError,
    errno.EFBIG,
    "The value is too large for the server: raise the limit of the server, or use another service",
)
_NO_CONNECTION: Final = _Rule(
    TimeoutError,
    errno.ETIMEDOUT,
    "No connection in time: check the server, its address, the user and the password",
)
_LOGIN: Final = _Rule(
    PermissionError, errno.EACCES, "The server rejects the login: check the user and the password"
)

# OpenDAL reports all other failures as one kind, Unexpected, so their texts decide.
# The first pattern that matches decides.
_TEXTS: Final[tuple[tuple[re.Pattern[str], _Rule], ...]] = (
    (re.compile(r"NoSuchBucket|ContainerNotFound|FilesystemNotFound", re.I), _NO_CONTAINER),
    (re.compile(r"ExpiredToken|RequestExpired|token (?:has|is) expired", re.I), _EXPIRED),
    (re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocation", re.I), _OTHER_REGION),
    (
        # Texts of redis, PostgreSQL, MySQL and FTP servers.
        re.compile(
            r"\bNOAUTH\b|\bWRONGPASS\b|invalid password|password authentication failed|no password supplied|"
            r"access denied for user|role .{1,80} does not exist|\[530\]",
            re.I,
        ),
        _LOGIN,
    ),
    (
        re.compile(r"Got a packet bigger than 'max_allowed_packet'"),  # MySQL
        _TOO_LARGE,
    ),
    (
        # OpenDAL writes the reason to standard error only. The known one is a machine without certificates.
        re.compile(r"rust future panicked|blocking task failed"),
        _Rule(
            OSError,
            errno.EIO,
            "OpenDAL panicked: install CA certificates or set SSL_CERT_FILE if there are none",
        ),
    ),
    (re.compile(r"timed? ?out|deadline has elapsed|timeout", re.I), _TIMED_OUT),
    (
        re.compile(r"received corrupt message of type InvalidContentType", re.I),
        _Rule(
            ConnectionError,
            errno.EPROTO,
            "The server does not use TLS at this port: use http://, or check the port",
        ),
    ),
    (
        # An https port that gets plain HTTP does this, and so does a server that is stopped.
        re.compile(r"connection closed before message completed", re.I),
        _Rule(
            ConnectionError,
            errno.ECONNRESET,
            "The server closed the connection: check that it runs, and whether it needs http:// or https://",
        ),
    ),
    (
        re.compile(r"invalid HTTP version parsed", re.I),
        _Rule(
            ConnectionError,
            errno.EPROTO,
            "The server does not use HTTP at this port: use https://, or check the port",
        ),
    ),
    (
        re.compile(r"invalid peer certificate", re.I),
        _Rule(
            ConnectionError,
            errno.EPROTO,
            "The server's certificate is not trusted: set SSL_CERT_FILE to the file of its authority",
        ),
    ),
    (
        re.compile(r"required for query signing", re.I),
        _Rule(
            PermissionError,
            errno.EACCES,
            "Cannot sign without the key of a service account: pass token= with a key file",
        ),
    ),
    (
        re.compile(r"credential|no valid .*sign|failed to sign|imds|metadata server|request signing", re.I),
        _Rule(
            PermissionError,
            errno.EACCES,
            "No usable credentials: pass them as options, or anon=True for public data",
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
        # The second is the text of Rust's own copy.
        re.compile(r"is a directory|neither a regular file nor", re.I),
        _Rule(IsADirectoryError, errno.EISDIR, "Is a directory"),
    ),
    (
        # The last is OpenDAL's text for a Content-Range header without bytes.
        re.compile(r"too little data|failed to overlap|content range is invalid", re.I),
        _Rule(RangeError, errno.EINVAL, "The range is past the end of the object: check its size"),
    ),
)

# The response to a HEAD has no body with an error code, only these headers.
_REGION: Final = re.compile(r'"x-amz-bucket-region": "([\w-]+)"')
_AZURE_CONTAINER: Final = re.compile(
    r'"x-ms-error-code": "(?:ContainerNotFound|FilesystemNotFound|ShareNotFound)"'
)
_MOVED: Final = re.compile(r"response: Parts \{ status: (?:301|307|400)\b")
# A range that ends after the object, where OpenDAL reports Unexpected; the second is FTP's text.
_RANGE_TEXTS: Final = re.compile(
    r"uri: \S+\s+response: Parts \{ status: 416\b|^\s*Invalid response: .* REST position", re.M
)
# Apache's response to a PROPFIND of a file with a slash after its name.
_NOT_A_DIRECTORY: Final = re.compile(
    r"service_operation: Propfind\s+uri: \S*/\s+response: Parts \{ status: 400\b"
)
_MEMCACHED_TOO_LARGE: Final = re.compile(r"\n\s*message: 3\n\s*service: memcached\n")
# HTTP status "range not satisfiable".
_RANGE_STATUS: Final = re.compile(r"response: Parts \{ status: 416\b")
# The errno of the operating system, for example of a full disk.
_SYSTEM: Final = re.compile(r"\(os error (\d+)\)")
_KIND: Final = re.compile(r"^(\w+) \((?:temporary|persistent|permanent)\)")
# OpenDAL formats the context in two ways; the second is that of blocking and reading calls.
_CONTEXT: Final = re.compile(r"\n\s*Context:.*?(?=\n\s*Source:|\Z)|, context: \{.*\}(?= => )", re.S)
_BACKTRACE: Final = re.compile(r"\n\s*Backtrace:.*", re.S)
# Bugs in the wheel. A PanicException is no Exception: it would end the user's loops and threads.
_PANICS: Final = frozenset({("pyo3_runtime", "PanicException"), ("pyo3_async_runtimes", "RustPanic")})
_WRITES: Final = frozenset({"write", "copy", "rename", "delete"})


def kind_of(exc: BaseException) -> str | None:
    """Return the name of OpenDAL's error kind; None if OpenDAL did not raise the exception.

    OpenDAL's File objects raise plain OSErrors with the kind in the text.
    """
    name, module = type(exc).__name__, type(exc).__module__
    if module.startswith("opendal") and name in _RULES:
        return name
    if (module, name) in _PANICS:
        return "Unexpected"
    if type(exc) is OSError:
        found = _KIND.match(str(exc))
        if found is not None and found.group(1) in _RULES:
            return found.group(1)
    return None


def translate_error(
    exc: BaseException,
    operation: str,
    path: str,
    *,
    where: str,
    secrets: Iterable[str] = (),
    pinned: bool = False,
    region: str | None = None,
    silent: bool = False,
    provider: bool = False,
    report: Callable[[], str | None] = lambda: None,
) -> OSError | None:
    """Return the OSError for an error of OpenDAL.

    Parameters
    ----------
    exc : BaseException
        The exception of OpenDAL.
    operation : str
        The operation that failed, such as ``"read"``.
    path : str
        Its path, as the user wrote it.
    where : str
        The service and its endpoint, for the message.
    secrets : iterable of str
        Values to remove from all texts.
    pinned : bool
        Whether the call was for one version; a failed condition then means that the object changed.
    region : str, optional
        The region that requests are signed for.
    silent : bool
        Whether the service's client hides why it cannot connect; see `Service.silent`.
    provider : bool
        Whether the credentials are those of a credential provider.
    report : callable, optional
        Returns where credentials were looked for, which is added to errors of credentials.

    Returns
    -------
    OSError or None
        None if OpenDAL did not raise `exc`.
    """
    kind = kind_of(exc)
    if kind is None:
        return None
    # `exc` becomes the context of the new error. Tracebacks leave it out, but other reports show it.
    text = _redact_args(exc, secrets)
    rule = _region_rule(text, region) or _rule(kind, text, operation, pinned)
    if silent and rule is _TIMED_OUT:
        rule = _NO_CONNECTION
    if provider and rule is _EXPIRED:
        rule = _EXPIRED_AGAIN
    message = f"{rule.text} ({operation} on {where})"
    if rule.raises is PermissionError and (found := report()) is not None:
        message = f"{message}\n{redact(found, secrets)}\nPath"
    error = rule.raises(rule.errno, message, redact(path, secrets))
    error.__cause__ = getattr(native, kind, builtins.OSError)(text)
    error.__suppress_context__ = True
    return error


def redact_causes(exc: BaseException, secrets: Iterable[str]) -> None:
    """Remove secrets from the errors of OpenDAL that led to an error, such as that of an earlier attempt."""
    seen: set[int] = set()
    causes = [exc.__cause__, exc.__context__]
    while causes:
        cause = causes.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        causes += [cause.__cause__, cause.__context__]
        if kind_of(cause) is not None:
            _redact_args(cause, secrets)


def _redact_args(exc: BaseException, secrets: Iterable[str]) -> str:
    text = redact(_BACKTRACE.sub("", str(exc)).strip(), secrets)
    exc.args = (text,)
    return text


def reason_of(text: str) -> str:
    """Return OpenDAL's text of an error without its context: the path and the URL may contain any word."""
    return _CONTEXT.sub("", text)


def other_region(text: str, region: str | None) -> str | None:
    """Return the region that a response names if requests were signed for another one; None for others."""
    if region is None or not _MOVED.search(text):
        return None
    found = _REGION.search(text)
    return None if found is None or found.group(1) == region else found.group(1)


def _region_rule(text: str, region: str | None) -> _Rule | None:
    """Return the rule for a response that names another region than the one requests are signed for."""
    found = other_region(text, region)
    if found is None:
        return None
    return _OTHER_REGION._replace(text=f"The bucket is in another region: pass region={found!r}")


def _rule(kind: str, text: str, operation: str, pinned: bool) -> _Rule:
    if kind == "ConditionNotMatch":
        return _CHANGED if pinned or operation not in _WRITES else _EXISTS
    if kind == "NotFound" and _AZURE_CONTAINER.search(text):
        return _NO_CONTAINER
    if kind == "Unexpected" and _RANGE_TEXTS.search(text):
        return _RULES["RangeNotSatisfied"]
    if kind == "Unexpected" and _NOT_A_DIRECTORY.search(text):
        return _RULES["NotADirectory"]
    if kind == "Unexpected" and _MEMCACHED_TOO_LARGE.search(text):
        return _TOO_LARGE
    if kind in ("Unexpected", "ConfigInvalid", "PermissionDenied"):
        reason = reason_of(text)
        if operation == "read" and _RANGE_STATUS.search(text):
            return _RULES["RangeNotSatisfied"]
        for pattern, rule in _TEXTS:
            if pattern.search(reason) and (kind != "PermissionDenied" or rule is _EXPIRED):
                return rule
        if kind != "PermissionDenied" and (found := _SYSTEM.search(reason)):
            number = int(found.group(1))
            return _Rule(OSError, number, os.strerror(number))
    return _RULES[kind]


_RULES["ConditionNotMatch"] = _CHANGED
