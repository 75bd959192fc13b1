"""Checks and translates options: the names of OpenDAL and of s3fs, gcsfs, adlfs and ossfs in, strings out.

OpenDAL ignores an option it does not know, so a typo would read the wrong place or use the wrong
credentials. Here an unknown option is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from . import aws
from .azure import URL_HOST, follow_url
from .errors import OptionError, redact, without_userinfo
from .peer_options import expand
from .services import Form, Service

__all__ = ["Tuning", "check", "is_secret", "require_server", "secret_values", "without_secrets"]

MiB: Final = 1 << 20

FSSPEC: Final = frozenset(
    {
        "asynchronous",
        "loop",
        "batch_size",
        "use_listings_cache",
        "listings_expiry_time",
        "max_paths",
        "skip_instance_cache",
    }
)
"""Options that fsspec itself consumes."""

_SECRETS: Final = frozenset(
    {
        "access_key_secret",
        "access_token",
        "account_key",
        "application_key",
        "client_secret",
        "connection_string",
        "credential",
        "delegation",
        "encryption_key",
        "external_id",
        "password",
        "refresh_token",
        "runtime_token",
        "sas_token",
        "secret_access_key",
        "secret_key",
        "security_token",
        "server_side_encryption_customer_key",
        "session_token",
        "temp_url_key",
        "token",
    }
)
_IDS: Final = frozenset(
    {
        "access_key_id",
        "application_key_id",
        "assume_role_session_tags",
        "client_id",
        "encryption_key_sha256",
        "options",
        "secret_id",
        "server_side_encryption_customer_key_md5",
        "tenant_id",
    }
)
"""Names and digests of keys, and free text: not secret as such, but never shown. Too short and too common
to be cut out of texts."""

_NESTED: Final = ("client_kwargs", "config_kwargs", "s3_additional_kwargs")

_CONCURRENCY: Final = 256

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


def _concurrency() -> int:
    """Give the default: each request has a connection, which counts as an open file."""
    try:
        import resource
    except ImportError:  # pragma: no cover  # Windows has no such limit
        return _CONCURRENCY
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _CONCURRENCY if most < 0 else max(1, min(_CONCURRENCY, most // 2))


@dataclass(frozen=True, slots=True)
class Tuning:
    """How requests are made, whatever the service; every option has a default that suits most.

    Parameters
    ----------
    retries : int
        How often a request that failed for a passing reason is made again.
    retry_min_delay, retry_max_delay : float
        Seconds before the first and, growing with jitter, at most before a later attempt.
    timeout : float
        Seconds that one call for metadata, a listing page or a copy may take, retries included. An attempt
        that stalls for a third of it is made again.
    io_timeout : float
        The same for reading or writing one part. Parts in flight share the link: by default 64 parts of 8 MiB
        of a read, and 8 of an upload, need 15 Mbit/s and 6 Mbit/s.
    concurrency : int
        Requests that one filesystem has in flight at most: 256, or half of the files that the process may
        have open, where that is less.
    block_size : int
        Bytes that ``open("rb")`` reads ahead.
    read_chunk : int
        Largest single GET in bytes; larger reads are split and fetched in parallel.
    write_chunk : int
        Size in bytes of the parts of a multipart upload.
    max_gap : int
        Hole in bytes up to which two ranges are fetched with one request.
    verify_writes : bool
        Stat each object after it was written or copied, and raise OSError when its size is another, or its
        etag, where that is the MD5 of the content. One request more for each write, two for each copy.
    """

    retries: int = 4
    retry_min_delay: float = 0.05
    retry_max_delay: float = 5.0
    timeout: float = 120.0
    io_timeout: float = 300.0
    concurrency: int = field(default_factory=_concurrency)
    block_size: int = 5 * MiB
    read_chunk: int = 8 * MiB
    write_chunk: int = 8 * MiB
    max_gap: int = 256 * 1024
    verify_writes: bool = False


_TUNING: Final = {f.name: f.type for f in fields(Tuning)}
_TUNING_PEERS: Final = {"default_block_size": "block_size", "max_concurrency": "concurrency"}
TUNING_NAMES: Final = frozenset({*_TUNING, *_TUNING_PEERS})
"""Names of the options of `Tuning`, those of peer libraries too."""

_MOST: Final = 1 << 40
_MINIMUM: Final = {"retries": 0, "retry_min_delay": 0.0, "retry_max_delay": 0.0, "max_gap": 0}


def check(service: Service, options: Mapping[str, Any], *, container: bool) -> tuple[dict[str, str], Tuning]:
    """Check options and bring them into OpenDAL's form.

    Parameters
    ----------
    service : Service
        Whose options they are.
    options : Mapping
        Names of OpenDAL or of a peer library, values of any type; None stands for not given. ``url_host``
        is the account's host in a URL, which must agree with the other options.
    container : bool
        Whether the option that names the container is allowed here.

    Returns
    -------
    dict of str
        What OpenDAL's constructor takes.
    Tuning
        What is our own.

    Raises
    ------
    OptionError
        For an unknown option, naming the nearest known one; for a value of a wrong type.

    Examples
    --------
    >>> from opendalfs.services import lookup
    >>> check(lookup("s3"), {"key": "k", "secret": "s", "retries": 2}, container=False)[0]["access_key_id"]
    'k'
    """
    given = {k: v for k, v in options.items() if v is not None}
    host = given.pop(URL_HOST, None) if service.accounts else None
    given = expand(service, given)
    tuning: dict[str, Any] = {}
    native: dict[str, str] = {}
    for name, value in given.items():
        own = _TUNING_PEERS.get(name, name)
        if own in _TUNING:
            is_flag = _TUNING[own] == "bool"
            tuning[own] = _text(own, value, "bool") == "true" if is_flag else _number(own, value)
            continue
        known = service.peers.get(name, name)
        if known not in service.options:
            raise _unknown(service, name)
        if known == service.container and not container:
            raise OptionError(
                f"{name}= does not go here: with {service.class_name} the {known} is the first part "
                f"of each path, as in '{given[name]}/key'. "
                f"OpendalFileSystem('{service.scheme}', {known}=...) takes it as an option."
            )
        own_id = known == service.container_id and not container
        text = _identities(name, value) if own_id else _text(name, value, service.options[known])
        if native.setdefault(known, text) != text:
            raise OptionError(f"{name} and another option both stand for {known}, with different values")
    if host is not None:
        follow_url(native, str(host))
    _defaults(service, native)
    return native, Tuning(**tuning)


def secret_values(native: Mapping[str, str]) -> tuple[str, ...]:
    """List the values that must never show: of errors, reprs and traces.

    Parameters
    ----------
    native : Mapping
        Options as `check` returns them.

    Returns
    -------
    tuple of str
        Longest first, so that one that holds another is cut out whole.
    """
    found = {v for k, v in native.items() if k in _SECRETS and len(v) > 3}
    return tuple(sorted(found, key=len, reverse=True))


def is_secret(name: str) -> bool:
    """Tell whether an option holds a secret, or the name that goes with one."""
    return name in _SECRETS or name in _IDS


def without_secrets(service: Service, options: Mapping[str, Any], *, container: bool) -> dict[str, Any]:
    """Return options without their secrets, in the names and values that they were given in.

    Parameters
    ----------
    service : Service
        Whose options they are.
    options : Mapping
        As `check` accepts them.
    container : bool
        As for `check`.

    Returns
    -------
    dict
        Without every option that stands for a secret or the name of a key, whatever library it is named
        after; URLs are without user, password and signature.
    """

    def shows(name: str, value: Any) -> bool:
        if name in FSSPEC or name == URL_HOST:
            return False
        try:
            found = check(service, {name: value}, container=container)[0]
        except OptionError:
            return True
        return any(is_secret(option) for option in found)

    kept: dict[str, Any] = {}
    for name, value in options.items():
        if name in _NESTED and isinstance(value, Mapping):
            kept[name] = {key: inner for key, inner in value.items() if not shows(name, {key: inner})}
        elif not shows(name, value):
            kept[name] = redact(without_userinfo(value)) if isinstance(value, str) else value
    return kept


def require_server(service: Service, options: Mapping[str, Any]) -> None:
    """Raise if options hold credentials for whichever server a URL names.

    Whoever takes many URLs with one set of options calls this: a URL in a query or in the metadata of a
    table may come from somebody else.

    Parameters
    ----------
    service : Service
        Whose options they are.
    options : Mapping
        As `check` takes them, without those of the URL.

    Raises
    ------
    OptionError
        If they hold a secret and name no server, and the URLs of the service do.
    """
    if service.form is not Form.ENDPOINT or not options:
        return
    native = check(service, options, container=False)[0]
    secret = next((name for name in native if is_secret(name)), None)
    if secret is not None and service.endpoint not in native:
        raise OptionError(
            f"{secret}= would go to every server that a URL names: "
            f"give {service.endpoint}= for the one it belongs to"
        )


def _unknown(service: Service, name: str) -> OptionError:
    known = sorted({*service.options, *service.peers, *_TUNING, *FSSPEC})
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return OptionError(
        f"{service.scheme} has no option {name!r}.{hint} "
        f"Its options are: {', '.join(sorted(service.options))}; "
        f"for all services: {', '.join(_TUNING)}."
    )


def _number(name: str, value: Any) -> float | int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise OptionError(f"{name} takes a number, not {value!r}") from None
    whole = "int" in str(_TUNING[name])
    if not math.isfinite(number) or (whole and not number.is_integer()):
        raise OptionError(f"{name} takes a {'whole ' if whole else ''}number, not {value!r}")
    least = _MINIMUM.get(name)
    if (least is None and number <= 0) or (least is not None and number < least):
        raise OptionError(f"{name} is {value!r}, which is too small")
    if number > _MOST:
        raise OptionError(f"{name} is {value!r}, which is too large")
    return int(number) if whole else number


def _identities(name: str, value: Any) -> str:
    """Read an option that has a value for each container."""
    pairs = value.items() if isinstance(value, Mapping) else (p.split("=") for p in str(value).split(","))
    found = [tuple(pair) for pair in pairs]
    if not all(len(pair) == 2 and all(pair) for pair in found):
        raise OptionError(f"{name} has a value for each container: {name}={{'lake': 'its id'}}")
    return ",".join(f"{container}={identity}" for container, identity in found)


def _text(name: str, value: Any, kind: str) -> str:
    """Bring one value into the string that OpenDAL parses."""
    if kind == "bool":
        word = str(value).lower()
        if word in _TRUE | _FALSE:
            return "true" if word in _TRUE else "false"
        raise OptionError(f"{name} takes True or False, not {value!r}")
    if kind == "int":
        try:
            return str(operator.index(value) if not isinstance(value, str) else int(value))
        except (TypeError, ValueError):
            raise OptionError(f"{name} takes a whole number, not {value!r}") from None
    if isinstance(value, Mapping) and kind.startswith("dict"):
        return ",".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(str(v) for v in value)
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    # The value may be a secret, so only its type is told.
    raise OptionError(f"{name} takes a string, not a {type(value).__name__}")


def _defaults(service: Service, native: dict[str, str]) -> None:
    if "endpoint" not in native and service.default_endpoint and "account_name" in native:
        native["endpoint"] = service.default_endpoint.format(**native)
    if service.scheme == "s3" and "region" not in native:
        native["region"] = aws.region(native.get("profile"))
