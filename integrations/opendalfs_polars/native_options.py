"""opendalfs's options as options of Polars' own object store, by a strict whitelist.

Polars drops an option that it does not know without a word, and finds credentials by a chain of its own. So
only what means exactly the same in both is translated. For all the rest `translate` raises
`NativeBackendError`, whose text says why, and the gateway takes over.
"""

from __future__ import annotations

import base64
import binascii
import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.options import Tuning

__all__ = ["Native", "NativeBackendError", "translate"]


class NativeBackendError(ValueError):
    """Raised with ``backend="native"`` if Polars' own object store cannot do the same as opendalfs.

    The text says what would differ. ``backend="auto"`` uses the gateway then.
    """


@dataclass(frozen=True, slots=True)
class Native:
    """Where Polars finds something by itself.

    Parameters
    ----------
    base : str
        What the URLs of a container begin with, up to the key.
    options : dict of str
        Polars' storage options; hold secrets, so they are in no repr.
    """

    base: str
    options: dict[str, str]

    def __repr__(self) -> str:
        return f"Native({self.base!r})"


def translate(filesystem: ServiceFileSystem, container: str, *, write: bool) -> Native:
    """Translate a filesystem's options for one container.

    Parameters
    ----------
    filesystem : ServiceFileSystem
        Whose options they are.
    container : str
        The container; empty for services without any.
    write : bool
        Whether Polars is to write.

    Returns
    -------
    Native

    Raises
    ------
    NativeBackendError
        When anything would be lost.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("s3", key="k", secret="s", region="eu-west-1")
    >>> translate(fs, "lake", write=False)
    Native('s3://lake/')
    """
    scheme = filesystem.service.scheme
    rule = _RULES.get(scheme)
    if rule is None:
        raise NativeBackendError(f"Polars has no store of its own for {scheme}")
    if filesystem.tuning != Tuning():
        raise NativeBackendError("Polars takes no retries, timeouts, sizes or limits in opendalfs's sense")
    told = [
        name for name, text in os.environ.items() if text and name.startswith(_ENVIRONMENT.get(scheme, ()))
    ]
    if told:
        raise NativeBackendError(f"the environment sets {', '.join(sorted(told))}, which Polars would follow")
    given = _Given(filesystem.native)
    found = rule(given, container, write)
    left = given.left()
    if left:
        raise NativeBackendError(f"Polars has no counterpart of {', '.join(left)}")
    return found


class _Given:
    """Options, each taken once; what is left over was not understood."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = dict(options)

    def take(self, name: str) -> str:
        return self._options.pop(name, "")

    def is_on(self, name: str) -> bool:
        return self.take(name) == "true"

    def renamed(self, names: Mapping[str, str]) -> dict[str, str]:
        """Take the options of a table that are there, under their new names."""
        return {new: self._options.pop(old) for old, new in names.items() if old in self._options}

    def drop(self, *names: str) -> None:
        """Take options that change nothing beside those that were taken."""
        for name in names:
            self._options.pop(name, None)

    def left(self) -> list[str]:
        return sorted(self._options)


_NO_CREDENTIALS: Final = (
    "no credentials are given; OpenDAL and Polars look for them in different places and might find others"
)

# Beginnings of what Polars would read from the environment beside the options, or even before them: a key
# there wins over a SAS token that is given. Of S3 the region, keys and the two switches are always given, so
# that what the environment says of them is not read.
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


def _prefix(given: _Given) -> str:
    root = given.take("root").strip("/")
    return f"{root}/" if root else ""


def _s3(given: _Given, container: str, write: bool) -> Native:
    options = {"aws_region": given.take("region")}
    endpoint = given.take("endpoint")
    if "@" in endpoint:
        raise NativeBackendError("Polars' errors would show the user and password of the endpoint")
    if endpoint:
        options["aws_endpoint_url"] = endpoint.rstrip("/")
        options["aws_allow_http"] = _flag(endpoint.startswith("http:"))
    virtual = given.is_on("enable_virtual_host_style")
    if virtual and endpoint:
        raise NativeBackendError(
            "with an endpoint of one's own the two do not agree where the bucket's name goes"
        )
    options["aws_virtual_hosted_style_request"] = _flag(virtual)
    options |= _s3_identity(given)
    encryption = given.take("server_side_encryption")
    if encryption:
        if encryption != "AES256":
            raise NativeBackendError("of server-side encryptions only AES256 is the same in both")
        options["aws_server_side_encryption"] = encryption
    # Where credentials are looked for matters to nobody when they are given.
    given.drop("disable_config_load", "disable_ec2_metadata", "allow_anonymous")
    return Native(f"s3://{container}/{_prefix(given)}", options)


def _s3_identity(given: _Given) -> dict[str, str]:
    if given.is_on("skip_signature"):
        given.drop("access_key_id", "secret_access_key", "session_token")
        return {"aws_skip_signature": "true"}
    keys = given.renamed(
        {
            "access_key_id": "aws_access_key_id",
            "secret_access_key": "aws_secret_access_key",
            "session_token": "aws_session_token",
        }
    )
    if not keys and not given.is_on("disable_config_load"):
        # Both look here first.
        keys = {f"aws_{name.lower()}": os.environ.get(f"AWS_{name}", "") for name in _AWS_KEYS}
        keys = {name: value for name, value in keys.items() if value}
    elif os.environ.get("AWS_SESSION_TOKEN") and "aws_session_token" not in keys:
        raise NativeBackendError("the environment holds a session token that Polars would send along")
    if "aws_access_key_id" not in keys or "aws_secret_access_key" not in keys:
        raise NativeBackendError(_NO_CREDENTIALS)
    # A profile has given its keys, region and endpoint already.
    given.drop("profile")
    return {**keys, "aws_skip_signature": "false"}


_AWS_KEYS: Final = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")


def _gcs(given: _Given, container: str, write: bool) -> Native:
    options: dict[str, str] = {}
    if given.take("endpoint").rstrip("/") not in ("", "https://storage.googleapis.com"):
        raise NativeBackendError(
            "OpenDAL and Polars speak different protocols of Google's, which one endpoint may not"
        )
    if given.is_on("skip_signature"):
        options["google_skip_signature"] = "true"
        given.drop("credential", "credential_path", "token", "allow_anonymous")
    else:
        options |= _gcs_identity(given)
    given.drop("disable_vm_metadata", "disable_config_load")
    return Native(f"gs://{container}/{_prefix(given)}", options)


def _gcs_identity(given: _Given) -> dict[str, str]:
    credential = given.take("credential")
    if credential:
        try:
            return {"google_service_account_key": base64.b64decode(credential, validate=True).decode()}
        except (binascii.Error, UnicodeDecodeError):
            raise NativeBackendError("credential= is not the base64 of a service account's key") from None
    identity = given.renamed({"credential_path": "google_service_account_path", "token": "bearer_token"})
    if len(identity) != 1:
        raise NativeBackendError(_NO_CREDENTIALS)
    return identity


def _azure(scheme: str, service: str) -> Callable[[_Given, str, bool], Native]:
    def rule(given: _Given, container: str, write: bool) -> Native:
        host = urlsplit(given.take("endpoint"))
        account = given.take("account_name") or host.netloc.partition(".")[0]
        if not account or (host.scheme, host.netloc) != ("https", f"{account}.{service}.core.windows.net"):
            raise NativeBackendError(
                "Polars builds Azure's addresses by itself, for the public cloud's own hosts"
            )
        options = {"azure_storage_account_name": account}
        options |= _azure_identity(given)
        return Native(f"{scheme}://{container}/{_prefix(given)}", options)

    return rule


def _azure_identity(given: _Given) -> dict[str, str]:
    if given.is_on("skip_signature"):
        given.drop("account_key", "sas_token")
        return {"azure_skip_signature": "true"}
    for names in _AZURE_IDENTITIES:
        identity = given.renamed(names)
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


def _hf(given: _Given, container: str, write: bool) -> Native:
    if write:
        raise NativeBackendError("Polars does not write to Hugging Face")
    if not container.startswith(("datasets/", "spaces/")):
        raise NativeBackendError("of Hugging Face Polars reads datasets and spaces only")
    token = given.take("token")
    if not token and (os.environ.get("HF_TOKEN") or os.environ.get("HF_ENDPOINT")):
        raise NativeBackendError("the environment sets HF_TOKEN or HF_ENDPOINT")
    options = {"token": token} if token else {}
    return Native(f"hf://{container}/{_prefix(given)}", options)


def _fs(given: _Given, container: str, write: bool) -> Native:
    if write:
        raise NativeBackendError(
            "Polars writes a local file in its place, so that a query that fails leaves a torn one"
        )
    root = given.take("root")
    if root.strip("/"):
        raise NativeBackendError("local paths are absolute, whatever the root")
    given.drop("atomic_write_dir")
    return Native("/", {})


def _http(given: _Given, container: str, write: bool) -> Native:
    if write:
        raise NativeBackendError("Polars does not write over HTTP")
    endpoint = given.take("endpoint")
    if not endpoint or "@" in endpoint:
        raise NativeBackendError("Polars sends no user and password over HTTP")
    return Native(posixpath.join(endpoint.rstrip("/"), _prefix(given)), {})


_RULES: Final[Mapping[str, Callable[[_Given, str, bool], Native]]] = {
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
