"""The nested options of s3fs, gcsfs and adlfs, flattened to the names that `options` checks."""

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

_PROVIDER: Final = {"credential_provider": "Any"}
"""The option of the services that `credential_providers` supports. `BaseFileSystem` handles it."""

_GCS_NAMES: Final = {"project": "str", "token": "str | os.PathLike[str] | Mapping[str, Any]"}
_AZURE_NAMES: Final = {"connection_string": "str", "credential": "str"}
_NESTED: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": {
        "client_kwargs": "Mapping[str, Any]",
        "config_kwargs": "Mapping[str, Any]",
        "s3_additional_kwargs": "Mapping[str, Any]",
        "use_ssl": "bool",
        **_PROVIDER,
    },
    "gcs": {**_GCS_NAMES, **_PROVIDER},
    "gcs-grpc": _GCS_NAMES,
    "azblob": {**_AZURE_NAMES, **_PROVIDER},
    "azdls": {**_AZURE_NAMES, **_PROVIDER},
    "azfile": _AZURE_NAMES,
}
"""Options of peer libraries that `expand` turns into others, and their types, by service."""


def class_options(service: Service) -> dict[str, str]:
    """Return the options that the class of a service takes in addition to those for all services.

    Parameters
    ----------
    service : Service
        The service.

    Returns
    -------
    dict of str
        The type of each, as in `Service.options`. Names that `Service.peers` translates are left out, and so
        are the container and the root of absolute paths, which are parts of each path.
    """
    types = {**service.options, **_NESTED.get(service.scheme, {})}
    if service.container_id:
        types[service.container_id] = "Mapping[str, str] | str"
    types.pop("root" if service.form is Form.ABSOLUTE else service.container or "", None)
    return types


def expand(service: Service, options: dict[str, Any]) -> dict[str, Any]:
    """Flatten the nested options of peer libraries.

    Parameters
    ----------
    service : Service
        The service that the options are for.
    options : dict
        Options as the user passed them.

    Returns
    -------
    dict
        Options in the names of `Service.options` and `Service.peers`; unknown ones are unchanged.

    Raises
    ------
    OptionError
        For a nested option that OpenDAL does not have.
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
    client = _mapping("client_kwargs", options.pop("client_kwargs", {}))
    config = _mapping("config_kwargs", options.pop("config_kwargs", {}))
    additional = _mapping("s3_additional_kwargs", options.pop("s3_additional_kwargs", {}))
    flat = dict(options)
    use_ssl = client.pop("use_ssl", flat.pop("use_ssl", True))
    nested = _rename("client_kwargs", client, _S3_CLIENT)
    nested |= _rename("s3_additional_kwargs", additional, _S3_ADDITIONAL)
    nested |= _s3_config(config)
    for name in ("endpoint_url", "endpoint"):
        endpoint = flat.get(name)
        if isinstance(endpoint, str) and "://" not in endpoint:
            flat[name] = f"{'https' if use_ssl else 'http'}://{endpoint}"
    # A flat option overrides a nested one, as in s3fs.
    given = {service.peers.get(name, name) for name in flat}
    return {k: v for k, v in nested.items() if k not in given} | flat


def _s3_config(config: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    s3 = _mapping("config_kwargs['s3']", config.pop("s3", None) or {})
    style = s3.pop("addressing_style", None)
    if style is not None:
        flat["enable_virtual_host_style"] = style == "virtual"
    if s3:
        raise OptionError(f"config_kwargs['s3'] takes only addressing_style: remove {', '.join(s3)}")
    flat |= _signature(config.pop("signature_version", "s3v4"))
    retries = _mapping("config_kwargs['retries']", config.pop("retries", None) or {})
    attempts = retries.get("max_attempts")
    if attempts is not None:
        flat["retries"] = attempts
    names = {
        "connect_timeout": "timeout",
        "read_timeout": "io_timeout",
        "max_pool_connections": "concurrency",
    }
    return flat | _rename("config_kwargs", config, names)


def _signature(version: Any) -> dict[str, Any]:
    """Return the options for botocore's signature version, a string or the object `botocore.UNSIGNED`."""
    if type(version).__name__ == "UNSIGNED":
        return {"skip_signature": True}
    if version in ("s3v4", "v4"):
        return {}
    raise OptionError(
        f"config_kwargs['signature_version'] must be 's3v4' or botocore.UNSIGNED, not {version!r}"
    )


def _expand_gcs(options: dict[str, Any]) -> dict[str, Any]:
    flat = dict(options)
    # gcsfs uses the project to create and to list buckets; OpenDAL does neither.
    flat.pop("project", None)
    token = flat.pop("token", None)
    if token == "anon":
        flat["skip_signature"] = True
    elif isinstance(token, Mapping):
        flat["credential"] = base64.b64encode(_json("token", token).encode()).decode()
    elif isinstance(token, os.PathLike) or (isinstance(token, str) and _is_file(token)):
        flat["credential_path"] = token
    elif token == "cloud":
        # The account of the machine, and not a key file that an environment variable names.
        flat["disable_config_load"] = True
    elif isinstance(token, str) and token not in ("google_default", "cache"):
        flat["token"] = token
    elif token is not None and not isinstance(token, str):
        raise OptionError(
            f"token must be 'anon', 'google_default', 'cloud', a path, a dict or an access token, "
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
_EMULATOR: Final = {
    "accountname": "devstoreaccount1",
    # The well-known key of the emulators.
    "accountkey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "blobendpoint": "http://127.0.0.1:10000/devstoreaccount1",
}


_AZURE_KINDS: Final = {"azblob": "blob", "azdls": "dfs", "azfile": "file"}


def _expand_azure(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    flat = dict(options)
    given = _parse_connection_string(kind, str(flat.pop("connection_string", "")))
    for name, value in given.items():
        if str(flat.setdefault(name, value)).rstrip("/") != value.rstrip("/"):
            raise OptionError(f"{name}= differs from the connection_string: pass one of them")
    credential = flat.pop("credential", None)
    if isinstance(credential, str):
        flat.setdefault("sas_token" if "sig=" in credential else "account_key", credential)
    elif credential is not None:
        raise OptionError(
            "credential must be an account key or a SAS token, as a string: pass one, or omit it\n"
            "Without it, OpenDAL uses AZURE_* variables and managed identities."
        )
    if isinstance(flat.get("sas_token"), str):
        flat["sas_token"] = flat["sas_token"].lstrip("?")
    return flat


def _parse_connection_string(kind: str, text: str) -> dict[str, str]:
    """Return the options in an Azure connection string."""
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    given = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if given.pop("usedevelopmentstorage", "").lower() == "true":
        given = _EMULATOR | given
    found = {option: given[name] for name, option in _AZURE.items() if name in given}
    endpoint = given.get("blobendpoint" if kind != "file" else "fileendpoint")
    account = found.get("account_name")
    if endpoint is None and account and "endpointsuffix" in given:
        scheme = given.get("defaultendpointsprotocol", "https")
        endpoint = f"{scheme}://{account}.blob.{given['endpointsuffix']}"
    if endpoint is not None:
        found["endpoint"] = endpoint.rstrip("/").replace(".blob.", f".{kind}.")
    if text and not found:
        raise OptionError("connection_string contains no account, key or endpoint: check it")
    return found


def _mapping(name: str, value: Any) -> dict[Any, Any]:
    """Return a copy of a nested option; raise if it is no mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    raise OptionError(f"{name} must be a dict, not a {type(value).__name__}")


def _json(name: str, value: Mapping[Any, Any]) -> str:
    try:
        return json.dumps(dict(value))
    except (TypeError, ValueError):
        # The value may contain a secret, so it is not shown.
        raise OptionError(
            f"{name} must hold what JSON can represent: pass the content of the key file"
        ) from None


def _rename(where: str, given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise OptionError(
                f"{where}[{name!r}] has no counterpart in OpenDAL{hint}\n{where} takes: {', '.join(names)}."
            )
    return {names[name]: value for name, value in given.items()}
