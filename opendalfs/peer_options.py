"""Options as s3fs, gcsfs and adlfs nest them, unfolded into the flat names that `options` checks."""

from __future__ import annotations

import base64
import difflib
import json
import os
from collections.abc import Mapping
from typing import Any, Final

from .errors import OptionError
from .services import Form, Service

__all__ = ["class_options", "expand"]

_GCS_NAMES: Final = {"project": "str", "token": "str | os.PathLike[str] | Mapping[str, Any]"}
_AZURE_NAMES: Final = {"connection_string": "str", "credential": "str"}
_NESTED: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": {
        "client_kwargs": "Mapping[str, Any]",
        "config_kwargs": "Mapping[str, Any]",
        "s3_additional_kwargs": "Mapping[str, Any]",
        "use_ssl": "bool",
    },
    "gcs": _GCS_NAMES,
    "gcs-grpc": _GCS_NAMES,
    "azblob": _AZURE_NAMES,
    "azdls": _AZURE_NAMES,
    "azfile": _AZURE_NAMES,
}
"""Options of peer libraries that `expand` turns into others, and their types, by service."""


def class_options(service: Service) -> dict[str, str]:
    """Return the options that the class of a service takes in addition to those for all services.

    Parameters
    ----------
    service : Service
        Whose options they are.

    Returns
    -------
    dict of str
        The type of each, as in `Service.options`. Names that `Service.peers` translates are left out, and so
        are the container and the root of absolute paths, which are a part of each path.
    """
    types = {**service.options, **_NESTED.get(service.scheme, {})}
    if service.container_id:
        types[service.container_id] = "Mapping[str, str] | str"
    types.pop("root" if service.form is Form.ABSOLUTE else service.container or "", None)
    return types


def expand(service: Service, options: dict[str, Any]) -> dict[str, Any]:
    """Unfold the nested options of peer libraries into flat ones.

    Parameters
    ----------
    service : Service
        Whose options they are.
    options : dict
        As the user gave them.

    Returns
    -------
    dict
        In names that the service's table knows, where they are known at all.

    Raises
    ------
    OptionError
        For a nested option that has no counterpart.
    """
    if service.scheme == "s3":
        return _expand_s3(service, options)
    if service.scheme.startswith("gcs"):
        return _expand_gcs(options)
    if service.scheme in _AZURE_KINDS:
        return _expand_azure(_AZURE_KINDS[service.scheme], options)
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


def _expand_s3(service: Service, options: dict[str, Any]) -> dict[str, Any]:
    client = dict(options.pop("client_kwargs", {}))
    config = dict(options.pop("config_kwargs", {}))
    additional = dict(options.pop("s3_additional_kwargs", {}))
    flat = dict(options)
    use_ssl = client.pop("use_ssl", flat.pop("use_ssl", True))
    nested = _renamed("client_kwargs", client, _S3_CLIENT)
    nested |= _renamed("s3_additional_kwargs", additional, _S3_ADDITIONAL)
    nested |= _s3_config(config)
    for name in ("endpoint_url", "endpoint"):
        endpoint = flat.get(name)
        if isinstance(endpoint, str) and "://" not in endpoint:
            flat[name] = f"{'https' if use_ssl else 'http'}://{endpoint}"
    # An option of the filesystem's own comes before a nested one, as in s3fs.
    taken = {service.peers.get(name, name) for name in flat}
    return {k: v for k, v in nested.items() if k not in taken} | flat


def _s3_config(config: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    s3 = dict(config.pop("s3", {}))
    style = s3.pop("addressing_style", None)
    if style is not None:
        flat["enable_virtual_host_style"] = style == "virtual"
    if s3:
        raise OptionError(f"config_kwargs['s3'] takes addressing_style, not {', '.join(s3)}")
    flat |= _signature(config.pop("signature_version", "s3v4"))
    attempts = dict(config.pop("retries", None) or {}).get("max_attempts")
    if attempts is not None:
        flat["retries"] = attempts
    names = {
        "connect_timeout": "timeout",
        "read_timeout": "io_timeout",
        "max_pool_connections": "concurrency",
    }
    return flat | _renamed("config_kwargs", config, names)


def _signature(version: Any) -> dict[str, Any]:
    """Read botocore's signature version; without signatures it is an object of that name."""
    if type(version).__name__ == "UNSIGNED":
        return {"skip_signature": True}
    if version in ("s3v4", "v4"):
        return {}
    raise OptionError(f"config_kwargs['signature_version'] is 's3v4' or botocore.UNSIGNED, not {version!r}")


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
    elif isinstance(token, os.PathLike) or (isinstance(token, str) and _is_file(token)):
        flat["credential_path"] = token
    elif token == "cloud":
        # The machine's own account, and no key file that the environment names.
        flat["disable_config_load"] = True
    elif isinstance(token, str) and token not in ("google_default", "cache"):
        flat["token"] = token
    elif token is not None and not isinstance(token, str):
        raise OptionError(
            f"token takes 'anon', 'google_default', 'cloud', a path, a dict or an access token, "
            f"not a {type(token).__name__}"
        )
    return flat


def _is_file(token: str) -> bool:
    return token.endswith(".json") or os.path.isfile(token)


_AZURE: Final = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "sharedaccesssignature": "sas_token",
}
_DEVELOPMENT: Final = {
    "accountname": "devstoreaccount1",
    # The key of every emulator, printed in its manual.
    "accountkey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "blobendpoint": "http://127.0.0.1:10000/devstoreaccount1",
}


_AZURE_KINDS: Final = {"azblob": "blob", "azdls": "dfs", "azfile": "file"}


def _expand_azure(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    flat = dict(options)
    given = _connection(kind, str(flat.pop("connection_string", "")))
    for name, value in given.items():
        if str(flat.setdefault(name, value)).rstrip("/") != value.rstrip("/"):
            raise OptionError(f"{name} and the connection_string name different values")
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


def _connection(kind: str, text: str) -> dict[str, str]:
    """Read the parts of an Azure connection string that OpenDAL takes."""
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    given = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if given.pop("usedevelopmentstorage", "").lower() == "true":
        given = _DEVELOPMENT | given
    found = {option: given[name] for name, option in _AZURE.items() if name in given}
    endpoint = given.get("blobendpoint" if kind != "file" else "fileendpoint")
    account = found.get("account_name")
    if endpoint is None and account and "endpointsuffix" in given:
        scheme = given.get("defaultendpointsprotocol", "https")
        endpoint = f"{scheme}://{account}.blob.{given['endpointsuffix']}"
    if endpoint is not None:
        found["endpoint"] = endpoint.rstrip("/").replace(".blob.", f".{kind}.")
    if text and not found:
        raise OptionError("connection_string names no account, no key and no endpoint")
    return found


def _renamed(where: str, given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise OptionError(
                f"{where}[{name!r}] has no counterpart in OpenDAL.{hint} It takes: {', '.join(names)}."
            )
    return {names[name]: value for name, value in given.items()}
