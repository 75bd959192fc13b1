"""Options: checked, and translated from the names of OpenDAL, s3fs, gcsfs, adlfs and ossfs to OpenDAL's.

OpenDAL ignores unknown options, so that a typo would lead to another server or to other credentials. Here an
unknown option is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
import reprlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from . import aws
from .azure import URL_HOST, follow_url
from .errors import OptionError, redact, redact_endpoint, without_userinfo
from .peer_options import class_options, expand
from .services import Form, Service
from .tuning import PARSERS, Tuning

__all__ = [
    "Tuning",
    "check",
    "is_secret",
    "redact_option",
    "require_server",
    "secret_values",
    "shown_options",
    "without_secrets",
]

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
"""Names of fsspec's own options."""

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
"""Names and digests of keys, and free text. They are not secret but never shown. They are too short and too
common to be removed from texts."""

_ENDPOINTS: Final = frozenset({"endpoint", "name_node"})

_NESTED: Final = ("client_kwargs", "config_kwargs", "s3_additional_kwargs")

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


_TUNING: Final = {f.name: f.type for f in fields(Tuning)}
_TUNING_PEERS: Final = {"default_block_size": "block_size", "max_concurrency": "concurrency"}
TUNING_NAMES: Final = frozenset({*_TUNING, *_TUNING_PEERS})
"""Names of the options of `Tuning`, those of peer libraries too."""

_LARGEST: Final = 1 << 40
_MAY_BE_ZERO: Final = frozenset({"retries", "retry_timeout", "retry_min_delay", "retry_max_delay", "max_gap"})


def check(service: Service, options: Mapping[str, Any], *, container: bool) -> tuple[dict[str, str], Tuning]:
    """Check options and translate them to OpenDAL's.

    Parameters
    ----------
    service : Service
        The service that the options are for.
    options : Mapping
        Names of OpenDAL or of a peer library; options with the value None are ignored. ``url_host`` is the
        account's host in a URL, which must agree with the other options.
    container : bool
        Whether the option that names the container is allowed here.

    Returns
    -------
    dict of str
        Arguments of OpenDAL's operators.
    Tuning
        The options of this package.

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
    # None is a value of this option: no limit.
    tuning: dict[str, Any] = {"cache_ttl": None} if options.get("cache_ttl", 0) is None else {}
    native: dict[str, str] = {}
    for name, value in given.items():
        own = _TUNING_PEERS.get(name, name)
        if own in _TUNING:
            tuning[own] = _tuned(own, value)
            continue
        known = service.peers.get(name, name)
        if known not in service.options:
            raise _unknown(service, name)
        if known == service.container and not container:
            raise OptionError(
                f"{service.class_name} takes no {name}=: begin each path with it, as in '{given[name]}/key', "
                f"or use OpendalFileSystem('{service.scheme}', {known}=...)"
            )
        own_id = known == service.container_id and not container
        text = _identities(name, value) if own_id else _text(name, value, service.options[known])
        if native.setdefault(known, text) != text:
            raise OptionError(f"{name} and another option set {known} to different values: pass one of them")
    if host is not None:
        follow_url(native, str(host))
    _defaults(service, native)
    return native, Tuning(**tuning)


def secret_values(native: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values that errors, reprs and traces must not contain.

    Parameters
    ----------
    native : Mapping
        Options as `check` returns them.

    Returns
    -------
    tuple of str
        Longest first, so that a value that contains another one is removed completely.
    """
    found = {v for k, v in native.items() if k in _SECRETS and len(v) > 3}
    return tuple(sorted(found, key=len, reverse=True))


def is_secret(name: str) -> bool:
    """Whether an option contains a secret, or the name that belongs to one."""
    return name in _SECRETS or name in _IDS


def shown_options(native: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each option for reprs, sorted by name: ``***`` for a secret.

    Parameters
    ----------
    native : Mapping
        Options as `check` returns them.

    Returns
    -------
    dict of str

    Examples
    --------
    >>> shown_options({"region": "eu-central-1", "access_key_id": "AKIA123"})
    {'access_key_id': '***', 'region': "'eu-central-1'"}
    """
    return {
        name: "***" if is_secret(name) else repr(redact_option(name, value))
        for name, value in sorted(native.items())
    }


def redact_option(name: str, value: str) -> str:
    """Return the value of an option of OpenDAL that is not secret, without a password in it."""
    return redact_endpoint(value) if name in _ENDPOINTS else redact(value)


def without_secrets(service: Service, options: Mapping[str, Any], *, container: bool) -> dict[str, Any]:
    """Return options without secrets; names and values stay as they were passed.

    Parameters
    ----------
    service : Service
        The service that the options are for.
    options : Mapping
        Options as `check` takes them.
    container : bool
        As for `check`.

    Returns
    -------
    dict
        The options that contain no secret and no name of a key, in the names of any library. URLs in them
        have no user, password or signature.
    """

    def is_public(name: str, value: Any) -> bool:
        if name in FSSPEC or name == URL_HOST:
            return True
        try:
            found = check(service, {name: value}, container=container)[0]
        except OptionError:
            return False
        return not any(is_secret(option) for option in found)

    kept: dict[str, Any] = {}
    for name, value in options.items():
        if name in _NESTED and isinstance(value, Mapping):
            kept[name] = {key: inner for key, inner in value.items() if is_public(name, {key: inner})}
        elif is_public(name, value):
            kept[name] = value
            if isinstance(value, str):
                is_endpoint = service.peers.get(name, name) == service.endpoint
                kept[name] = redact(without_userinfo(value, endpoint=is_endpoint))
    return kept


def require_server(service: Service, options: Mapping[str, Any]) -> None:
    """Raise if options contain credentials that would be sent to any server that a URL names.

    Code that uses one set of options for many URLs calls this: a URL in a query or in the metadata of a table
    may come from somebody else.

    Parameters
    ----------
    service : Service
        The service that the options are for.
    options : Mapping
        Options as `check` takes them, without those of the URL.

    Raises
    ------
    OptionError
        If the options contain a secret and name no server, and URLs of the service name one.
    """
    if service.form is not Form.ENDPOINT or not options:
        return
    native = check(service, options, container=False)[0]
    secret = next((name for name in native if is_secret(name)), None)
    if secret is not None and service.endpoint not in native:
        raise OptionError(
            f"{secret}= would be sent to every server that a URL names: "
            f"pass {service.endpoint}= with the server that it is for"
        )


def _unknown(service: Service, name: str) -> OptionError:
    known = sorted({*service.options, *class_options(service), *service.peers, *_TUNING, *FSSPEC})
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else ""
    return OptionError(
        f"{service.scheme} has no option {name!r}{hint}\n"
        f"Its options are: {', '.join(sorted({*service.options, *class_options(service)}))}; "
        f"for all services: {', '.join(_TUNING)}."
    )


def _tuned(name: str, value: Any) -> Any:
    """Return the value of an option of `Tuning`."""
    if name in PARSERS:
        return PARSERS[name](name, value)
    return _text(name, value, "bool") == "true" if _TUNING[name] == "bool" else _number(name, value)


def _number(name: str, value: Any) -> float | int:
    shown = reprlib.repr(value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{name} must be a number, not {shown}") from None
    whole = "int" in str(_TUNING[name])
    if not math.isfinite(number) or (whole and not number.is_integer()):
        raise OptionError(f"{name} must be {'an integer' if whole else 'a number'}, not {shown}")
    if number < 0 or (number == 0 and name not in _MAY_BE_ZERO):
        raise OptionError(
            f"{name} must be {'at least' if name in _MAY_BE_ZERO else 'more than'} 0, not {shown}"
        )
    if number > _LARGEST:
        raise OptionError(f"{name} must be at most {_LARGEST}, not {shown}")
    return int(number) if whole else number


def _identities(name: str, value: Any) -> str:
    """Return the string for an option with a value for each container."""
    pairs = value.items() if isinstance(value, Mapping) else (p.split("=") for p in str(value).split(","))
    found = [tuple(pair) for pair in pairs]
    if not all(len(pair) == 2 and all(pair) for pair in found):
        raise OptionError(f"{name} needs a value for each container: pass {name}={{'lake': 'its id'}}")
    return ",".join(f"{container}={identity}" for container, identity in found)


def _text(name: str, value: Any, kind: str) -> str:
    """Return a value as the string that OpenDAL parses."""
    if kind == "bool":
        word = str(value).lower()
        if word in _TRUE | _FALSE:
            return "true" if word in _TRUE else "false"
        raise OptionError(f"{name} must be True or False, not {reprlib.repr(value)}")
    if kind == "int":
        try:
            return str(operator.index(value) if not isinstance(value, str) else int(value))
        except (TypeError, ValueError):
            raise OptionError(f"{name} must be an integer, not {reprlib.repr(value)}") from None
    if isinstance(value, Mapping) and kind.startswith("dict"):
        return ",".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(str(v) for v in value)
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    # The value may be a secret, so only its type is shown.
    raise OptionError(f"{name} must be a string, not a {type(value).__name__}")


def _defaults(service: Service, native: dict[str, str]) -> None:
    if "endpoint" not in native and service.default_endpoint and "account_name" in native:
        native["endpoint"] = service.default_endpoint.format(**native)
    if service.scheme == "s3" and "region" not in native:
        native["region"] = aws.region(native.get("profile"))
