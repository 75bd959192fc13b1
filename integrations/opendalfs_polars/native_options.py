"""Translates opendalfs's options to those of Polars' own object stores, by a strict whitelist.

Polars ignores options that it does not know, and searches for credentials in its own way. So only options
that mean exactly the same in both are translated. For all others `translate` raises `NativeBackendError`, and
the gateway is used.
"""

from __future__ import annotations

import base64
import binascii
import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from opendalfs.aws import DefaultRegion
from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.options import Tuning
from opendalfs.services import Locality

__all__ = ["NativeBackendError", "NativeStore", "translate"]


class NativeBackendError(ValueError):
    """Raised with ``backend="native"`` if Polars' own object store cannot do the same as opendalfs.

    The message states the difference. With ``backend="auto"`` the gateway is used instead.

    Examples
    --------
    >>> import opendalfs_polars
    >>> try:
    ...     opendalfs_polars.target("opendal+memory://a.parquet", backend="native")
    ... except NativeBackendError as exc:
    ...     print(exc)
    Polars has no native store for memory
    """


@dataclass(frozen=True, slots=True)
class NativeStore:
    """A container in one of Polars' own object stores.

    Parameters
    ----------
    base : str
        Beginning of the URLs of the container, up to the key.
    options : dict of str
        Polars' storage options. They hold secrets, so that the repr does not show them.
    """

    base: str
    options: dict[str, str]

    def __repr__(self) -> str:
        return f"NativeStore({self.base!r})"


_NO_CACHE: Final[Mapping[str, Any]] = {"cache_dir": None, "cache_size": 1, "cache_ttl": 0.0}
"""Options that have no effect where there is no cache."""


def translate(filesystem: ServiceFileSystem, container: str, *, write: bool) -> NativeStore:
    """Translate a filesystem's options for one container.

    Parameters
    ----------
    filesystem : ServiceFileSystem
        The filesystem with the options.
    container : str
        Name of the container; empty for services without containers.
    write : bool
        Whether Polars will write.

    Returns
    -------
    NativeStore

    Raises
    ------
    NativeBackendError
        If Polars' own store cannot do the same.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("s3", key="k", secret="s", region="eu-west-1")
    >>> translate(fs, "lake", write=False)
    NativeStore('s3://lake/')
    """
    scheme = filesystem.service.scheme
    rule = _RULES.get(scheme)
    if rule is None:
        raise NativeBackendError(f"Polars has no native store for {scheme}")
    if filesystem.provider is not None:
        raise NativeBackendError("opendalfs renews the credentials of the credential_provider")
    tuning = filesystem.tuning
    if tuning.cache_dir is not None and filesystem.service.locality is Locality.REMOTE:
        raise NativeBackendError("Polars cannot use the cache of opendalfs on disk")
    if replace(tuning, **_NO_CACHE) != Tuning(**_NO_CACHE):
        raise NativeBackendError("Polars does not support opendalfs's retries, timeouts, sizes and limits")
    variables = [
        name for name, text in os.environ.items() if text and name.startswith(_ENVIRONMENT.get(scheme, ()))
    ]
    if variables:
        raise NativeBackendError(f"Polars would use {', '.join(sorted(variables))} of the environment")
    remaining = _Options(filesystem.native)
    found = rule(remaining, container, write)
    unsupported = remaining.names()
    if unsupported:
        raise NativeBackendError(f"Polars has no equivalent of the options {', '.join(unsupported)}")
    return found


class _Options:
    """Options that are not translated yet."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = dict(options)

    def pop(self, name: str) -> str:
        return self._options.pop(name, "")

    def pop_flag(self, name: str) -> bool:
        return self.pop(name) == "true"

    def pop_renamed(self, names: Mapping[str, str]) -> dict[str, str]:
        """Remove the options in a table, and return them with their new names."""
        return {new: self._options.pop(old) for old, new in names.items() if old in self._options}

    def drop(self, *names: str) -> None:
        """Remove options that have no effect beside those that were translated."""
        for name in names:
            self._options.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self._options)


_NO_CREDENTIALS: Final = "no credentials were given: OpenDAL and Polars search for them in different places"

# Prefixes of environment variables that Polars reads in addition to the options, or even before them: a key
# there has priority over a given SAS token. For S3 the region, the keys and two switches are always given, so
# that their variables are not read.
_AZURE: Final = (
    "AZURE_ALLOW_INVALID_",
    "AZURE_AUTHORITY_",
    "AZURE_CLIENT_",
    "AZURE_ENDPOINT",
    "AZURE_FABRIC_",
    "AZURE_FEDERATED_",
    "AZURE_PROXY_",
    "AZURE_SKIP_SIGNATURE",
    "AZURE_STORAGE_",
    "AZURE_TENANT_",
    "AZURE_USE_",
)
_ENVIRONMENT: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": (
        "AWS_ALLOW_INVALID_",
        "AWS_ENDPOINT",
        "AWS_PROXY_",
        "AWS_REQUEST_PAYER",
        "AWS_S3_",
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_TOKEN",
    ),
    "gcs": (
        "GOOGLE_ALLOW_INVALID_",
        "GOOGLE_BASE_URL",
        "GOOGLE_BEARER_TOKEN",
        "GOOGLE_PROXY_",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SKIP_SIGNATURE",
    ),
    "azblob": _AZURE,
    "azdls": _AZURE,
}


def _prefix(remaining: _Options) -> str:
    root = remaining.pop("root").strip("/")
    return f"{root}/" if root else ""


def _s3(remaining: _Options, container: str, write: bool) -> NativeStore:
    region, endpoint = remaining.pop("region"), remaining.pop("endpoint")
    if isinstance(region, DefaultRegion) and not endpoint:
        raise NativeBackendError("no region was given, and Polars does not look up that of the bucket")
    options = {"aws_region": region}
    if "@" in endpoint:
        raise NativeBackendError("Polars' errors would show the user and password of the endpoint")
    if endpoint:
        options["aws_endpoint_url"] = endpoint.rstrip("/")
        options["aws_allow_http"] = _flag(endpoint.startswith("http:"))
    virtual = remaining.pop_flag("enable_virtual_host_style")
    if virtual and endpoint:
        raise NativeBackendError(
            "OpenDAL and Polars put the bucket name in different places of a virtual-hosted endpoint"
        )
    options["aws_virtual_hosted_style_request"] = _flag(virtual)
    options |= _s3_identity(remaining)
    encryption = remaining.pop("server_side_encryption")
    if encryption:
        if encryption != "AES256":
            raise NativeBackendError(
                f"server-side encryption {encryption!r} is not the same in OpenDAL and Polars: only AES256 is"
            )
        options["aws_server_side_encryption"] = encryption
    # With given credentials, nothing searches for others.
    remaining.drop("disable_config_load", "disable_ec2_metadata", "allow_anonymous")
    return NativeStore(f"s3://{container}/{_prefix(remaining)}", options)


def _s3_identity(remaining: _Options) -> dict[str, str]:
    if remaining.pop_flag("skip_signature"):
        remaining.drop("access_key_id", "secret_access_key", "session_token")
        return {"aws_skip_signature": "true"}
    keys = remaining.pop_renamed(
        {
            "access_key_id": "aws_access_key_id",
            "secret_access_key": "aws_secret_access_key",
            "session_token": "aws_session_token",
        }
    )
    if not keys and not remaining.pop_flag("disable_config_load"):
        # OpenDAL and Polars both look here first.
        keys = {f"aws_{name.lower()}": os.environ.get(f"AWS_{name}", "") for name in _AWS_KEYS}
        keys = {name: value for name, value in keys.items() if value}
    elif os.environ.get("AWS_SESSION_TOKEN") and "aws_session_token" not in keys:
        raise NativeBackendError("Polars would also send AWS_SESSION_TOKEN of the environment")
    if "aws_access_key_id" not in keys or "aws_secret_access_key" not in keys:
        raise NativeBackendError(_NO_CREDENTIALS)
    # The keys, region and endpoint of a profile are among the options already.
    remaining.drop("profile")
    return {**keys, "aws_skip_signature": "false"}


_AWS_KEYS: Final = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")


def _gcs(remaining: _Options, container: str, write: bool) -> NativeStore:
    options: dict[str, str] = {}
    if remaining.pop("endpoint").rstrip("/") not in ("", "https://storage.googleapis.com"):
        raise NativeBackendError(
            "OpenDAL and Polars use different APIs of Google, and an endpoint may support only one"
        )
    if remaining.pop_flag("skip_signature"):
        options["google_skip_signature"] = "true"
        remaining.drop("credential", "credential_path", "token", "allow_anonymous")
    else:
        options |= _gcs_identity(remaining)
    remaining.drop("disable_vm_metadata", "disable_config_load")
    return NativeStore(f"gs://{container}/{_prefix(remaining)}", options)


def _gcs_identity(remaining: _Options) -> dict[str, str]:
    credential = remaining.pop("credential")
    if credential:
        try:
            return {"google_service_account_key": base64.b64decode(credential, validate=True).decode()}
        except (binascii.Error, UnicodeDecodeError):
            raise NativeBackendError("credential= is not the base64 of a service account key") from None
    identity = remaining.pop_renamed(
        {"credential_path": "google_service_account_path", "token": "bearer_token"}
    )
    if len(identity) != 1:
        raise NativeBackendError(_NO_CREDENTIALS)
    return identity


def _azure(scheme: str, service: str) -> Callable[[_Options, str, bool], NativeStore]:
    def rule(remaining: _Options, container: str, write: bool) -> NativeStore:
        host = urlsplit(remaining.pop("endpoint"))
        account = remaining.pop("account_name") or host.netloc.partition(".")[0]
        if not account or (host.scheme, host.netloc) != ("https", f"{account}.{service}.core.windows.net"):
            raise NativeBackendError("Polars supports only the hosts of Azure's public cloud")
        options = {"azure_storage_account_name": account}
        options |= _azure_identity(remaining)
        return NativeStore(f"{scheme}://{container}/{_prefix(remaining)}", options)

    return rule


def _azure_identity(remaining: _Options) -> dict[str, str]:
    if remaining.pop_flag("skip_signature"):
        remaining.drop("account_key", "sas_token")
        return {"azure_skip_signature": "true"}
    for names in _AZURE_IDENTITIES:
        identity = remaining.pop_renamed(names)
        if len(identity) == len(names):
            return identity
        if identity:
            break
    raise NativeBackendError(_NO_CREDENTIALS)


_AZURE_IDENTITIES: Final[tuple[Mapping[str, str], ...]] = (
    {"account_key": "azure_storage_account_key"},
    {"sas_token": "azure_storage_sas_key"},
    {
        "client_id": "azure_storage_client_id",
        "client_secret": "azure_storage_client_secret",
        "tenant_id": "azure_storage_tenant_id",
    },
)


def _hf(remaining: _Options, container: str, write: bool) -> NativeStore:
    if write:
        raise NativeBackendError("Polars cannot write to Hugging Face")
    if not container.startswith(("datasets/", "spaces/")):
        raise NativeBackendError("on Hugging Face, Polars reads datasets and spaces only")
    token = remaining.pop("token")
    if not token and (os.environ.get("HF_TOKEN") or os.environ.get("HF_ENDPOINT")):
        raise NativeBackendError("Polars would use HF_TOKEN or HF_ENDPOINT of the environment")
    options = {"token": token} if token else {}
    return NativeStore(f"hf://{container}/{_prefix(remaining)}", options)


def _fs(remaining: _Options, container: str, write: bool) -> NativeStore:
    if write:
        raise NativeBackendError(
            "Polars writes local files in place, so that a failed query leaves an incomplete file"
        )
    root = remaining.pop("root")
    if root.strip("/"):
        raise NativeBackendError("Polars does not support root= for local files")
    remaining.drop("atomic_write_dir")
    return NativeStore("/", {})


def _http(remaining: _Options, container: str, write: bool) -> NativeStore:
    if write:
        raise NativeBackendError("Polars cannot write over HTTP")
    endpoint = remaining.pop("endpoint")
    if not endpoint or "@" in endpoint:
        raise NativeBackendError("Polars sends no user and password over HTTP")
    return NativeStore(posixpath.join(endpoint.rstrip("/"), _prefix(remaining)), {})


_RULES: Final[Mapping[str, Callable[[_Options, str, bool], NativeStore]]] = {
    "s3": _s3,
    "gcs": _gcs,
    "azblob": _azure("az", "blob"),
    "azdls": _azure("abfss", "dfs"),
    "hf": _hf,
    "fs": _fs,
    "http": _http,
}


def _flag(value: bool) -> str:
    return "true" if value else "false"
