"""Checks and translates options: the names of OpenDAL and of s3fs, gcsfs, adlfs and ossfs in, strings out.

OpenDAL ignores an option it does not know, so a typo would read the wrong place or use the wrong
credentials. Here an unknown option is an error that names the nearest known one.
"""

from __future__ import annotations

import base64
import configparser
import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from .errors import OptionError
from .services import Service

__all__ = ["Tuning", "check", "secret_values"]

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
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


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
        Seconds that one call for metadata, a listing page or a copy may take, retries included.
    io_timeout : float
        Seconds that reading or writing one part may take, retries included.
    concurrency : int
        Requests that one filesystem has in flight at most.
    block_size : int
        Bytes that ``open("rb")`` reads ahead.
    read_chunk : int
        Largest single GET in bytes; larger reads are split and fetched in parallel.
    write_chunk : int
        Size in bytes of the parts of a multipart upload.
    max_gap : int
        Hole in bytes up to which two ranges are fetched with one request.
    """

    retries: int = 4
    retry_min_delay: float = 0.05
    retry_max_delay: float = 5.0
    timeout: float = 120.0
    io_timeout: float = 120.0
    concurrency: int = 64
    block_size: int = 5 * MiB
    read_chunk: int = 8 * MiB
    write_chunk: int = 8 * MiB
    max_gap: int = 256 * 1024

    @property
    def layers(self) -> tuple[float, ...]:
        """The part that is built into an operator, as a key."""
        return (
            self.retries,
            self.retry_min_delay,
            self.retry_max_delay,
            self.timeout,
            self.io_timeout,
            self.concurrency,
        )


_TUNING: Final = {f.name: f.type for f in fields(Tuning)}
_TUNING_PEERS: Final = {"default_block_size": "block_size", "max_concurrency": "concurrency"}
_MINIMUM: Final = {"retries": 0, "retry_min_delay": 0.0, "retry_max_delay": 0.0, "max_gap": 0}


def check(service: Service, options: Mapping[str, Any], *, container: bool) -> tuple[dict[str, str], Tuning]:
    """Check options and bring them into OpenDAL's form.

    Parameters
    ----------
    service : Service
        Whose options they are.
    options : Mapping
        Names of OpenDAL or of a peer library, values of any type; None stands for not given.
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
    given = _expand(service, {k: v for k, v in options.items() if v is not None})
    tuning: dict[str, Any] = {}
    native: dict[str, str] = {}
    for name, value in given.items():
        own = _TUNING_PEERS.get(name, name)
        if own in _TUNING:
            tuning[own] = _number(own, value)
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
        native[known] = _text(name, value, service.options[known])
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
    """Tell whether an option holds a secret."""
    return name in _SECRETS


def _expand(service: Service, options: dict[str, Any]) -> dict[str, Any]:
    """Unfold the nested options of peer libraries into flat ones."""
    if service.scheme == "s3":
        return _expand_s3(options)
    if service.scheme.startswith("gcs"):
        return _expand_gcs(options)
    if service.scheme.startswith("az"):
        return _expand_azure(options)
    return options


_S3_CLIENT: Final = {
    "endpoint_url": "endpoint",
    "region_name": "region",
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
_S3_ADDITIONAL: Final = {
    "ServerSideEncryption": "server_side_encryption",
    "SSEKMSKeyId": "server_side_encryption_aws_kms_key_id",
    "SSECustomerAlgorithm": "server_side_encryption_customer_algorithm",
    "SSECustomerKey": "server_side_encryption_customer_key",
    "SSECustomerKeyMD5": "server_side_encryption_customer_key_md5",
    "ACL": "default_acl",
    "StorageClass": "default_storage_class",
}


def _expand_s3(options: dict[str, Any]) -> dict[str, Any]:
    client = dict(options.pop("client_kwargs", {}))
    config = dict(options.pop("config_kwargs", {}))
    additional = dict(options.pop("s3_additional_kwargs", {}))
    flat = dict(options)
    use_ssl = client.pop("use_ssl", flat.pop("use_ssl", True))
    flat |= _renamed("client_kwargs", client, _S3_CLIENT)
    flat |= _renamed("s3_additional_kwargs", additional, _S3_ADDITIONAL)
    flat |= _s3_config(config)
    endpoint = flat.get("endpoint_url", flat.get("endpoint"))
    if endpoint is not None and "://" not in str(endpoint):
        scheme = "https" if use_ssl else "http"
        flat.pop("endpoint_url", None)
        flat["endpoint"] = f"{scheme}://{endpoint}"
    return flat


def _s3_config(config: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    s3 = dict(config.pop("s3", {}))
    style = s3.pop("addressing_style", None)
    if style is not None:
        flat["enable_virtual_host_style"] = style == "virtual"
    if s3:
        raise OptionError(f"config_kwargs['s3'] takes addressing_style, not {', '.join(s3)}")
    if config.pop("signature_version", None) is not None:
        flat["skip_signature"] = True
    attempts = config.pop("retries", {}).get("max_attempts")
    if attempts is not None:
        flat["retries"] = attempts
    names = {
        "connect_timeout": "timeout",
        "read_timeout": "io_timeout",
        "max_pool_connections": "concurrency",
    }
    return flat | _renamed("config_kwargs", config, names)


def _expand_gcs(options: dict[str, Any]) -> dict[str, Any]:
    flat = dict(options)
    # gcsfs needs the project to make buckets and to list them; OpenDAL does neither.
    flat.pop("project", None)
    token = flat.pop("token", None)
    if token == "anon":
        flat["skip_signature"] = True
    elif isinstance(token, Mapping):
        text = json.dumps(dict(token))
        flat["credential"] = base64.b64encode(text.encode()).decode()
    elif isinstance(token, str) and token.endswith(".json"):
        flat["credential_path"] = token
    elif token is not None and token not in ("google_default", "cloud", "cache"):
        flat["token"] = token
    return flat


_AZURE: Final = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "sharedaccesssignature": "sas_token",
}


def _expand_azure(options: dict[str, Any]) -> dict[str, Any]:
    flat = dict(options)
    connection = flat.pop("connection_string", None)
    parts = [p.partition("=") for p in (connection or "").split(";") if p]
    given = {name.lower(): value for name, _, value in parts}
    for name, option in _AZURE.items():
        if name in given:
            flat.setdefault(option, given[name])
    endpoint = given.get("blobendpoint")
    if endpoint is None and "endpointsuffix" in given:
        scheme = given.get("defaultendpointsprotocol", "https")
        endpoint = f"{scheme}://{given['accountname']}.blob.{given['endpointsuffix']}"
    if endpoint is not None:
        flat.setdefault("endpoint", endpoint)
    credential = flat.pop("credential", None)
    if isinstance(credential, str):
        flat.setdefault("sas_token" if "sig=" in credential else "account_key", credential)
    elif credential is not None:
        raise OptionError(
            "credential= takes an account key or a SAS token as a string; OpenDAL finds managed "
            "identities and AZURE_* variables by itself when no credential is given"
        )
    if isinstance(flat.get("sas_token"), str):
        flat["sas_token"] = flat["sas_token"].lstrip("?")
    return flat


def _renamed(where: str, given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise OptionError(
                f"{where}[{name!r}] has no counterpart in OpenDAL{hint} It takes: {', '.join(names)}."
            )
    return {names[name]: value for name, value in given.items()}


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
    kind = int if "int" in str(_TUNING[name]) else float
    try:
        number = kind(value)
    except (TypeError, ValueError):
        raise OptionError(f"{name} takes a number, not {value!r}") from None
    least = _MINIMUM.get(name)
    if (least is None and number <= 0) or (least is not None and number < least):
        raise OptionError(f"{name} is {value!r}, which is too small")
    return number


def _text(name: str, value: Any, kind: str) -> str:
    """Bring one value into the string that OpenDAL parses."""
    if kind == "bool":
        word = str(value).lower()
        if word in _TRUE | _FALSE:
            return "true" if word in _TRUE else "false"
        raise OptionError(f"{name} takes True or False, not {value!r}")
    if kind == "path":
        return str(os.fspath(value))
    if isinstance(value, Mapping):
        return ",".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(str(v) for v in value)
    return str(value)


def _defaults(service: Service, native: dict[str, str]) -> None:
    if "endpoint" not in native and service.default_endpoint and "account_name" in native:
        native["endpoint"] = service.default_endpoint.format(**native)
    if service.scheme == "s3" and "region" not in native:
        region = _aws_region(native.get("profile"))
        if region is not None:
            native["region"] = region


def _aws_region(profile: str | None) -> str | None:
    """Give the region to put in, where OpenDAL would find none and refuse to start.

    OpenDAL reads AWS_REGION itself. Most servers that are not AWS take any region; ``us-east-1`` is
    the one that AWS's own tools fall back to.
    """
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(name):
            return os.environ[name]
    path = Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser()
    name = profile or os.environ.get("AWS_PROFILE", "default")
    parser = configparser.ConfigParser()
    try:
        parser.read(path)
    except (OSError, configparser.Error):
        return "us-east-1"
    section = "default" if name == "default" else f"profile {name}"
    return parser.get(section, "region", fallback="us-east-1")
