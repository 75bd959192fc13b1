"""Where credentials were looked for and what was found there, for errors; it shows no secret."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from . import aws
from .services import Service

__all__ = ["report"]

Place = tuple[str, str]
"""Name of a place, and what was found there."""

_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": ("access_key_id", "secret_access_key", "session_token", "role_arn"),
    "gcs": ("token", "credential", "credential_path", "service_account"),
    "azure": ("account_key", "sas_token", "client_secret"),
}
_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    ),
    "gcs": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "azure": (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZBLOB_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_BEARER_TOKEN",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
    ),
}
_ADVICE: Final[Mapping[str, str]] = {
    "s3": "key and secret, profile, credential_provider, or anon=True",
    "gcs": "token, credential_provider, or anon=True",
    "azure": "account_key, sas_token or credential_provider",
}
_METADATA: Final[Mapping[str, str]] = {"s3": "disable_ec2_metadata", "gcs": "disable_vm_metadata"}
_KEY_KINDS: Final = ("AKIA", "ASIA")
"""Beginnings of AWS's key ids, which tell those of a user from temporary ones."""

_GOOGLE_FILE: Final = "~/.config/gcloud/application_default_credentials.json"


def report(service: Service, native: Mapping[str, str], provider: str | None = None) -> str | None:
    """Return a line that lists the places of credentials.

    Parameters
    ----------
    service : Service
        The service.
    native : Mapping
        The options of the filesystem.
    provider : str, optional
        Name of the credential provider.

    Returns
    -------
    str or None
        None for a service whose places are not known, and for one without credentials.

    Examples
    --------
    >>> from opendalfs.services import lookup
    >>> print(report(lookup("s3"), {"access_key_id": "AKIA123", "secret_access_key": "s"}))
    Credentials: options access_key_id, secret_access_key. To use others pass key and secret, profile, \
credential_provider, or anon=True.
    """
    kind = "azure" if service.accounts else service.scheme
    if kind not in _OPTIONS or "true" in (native.get("skip_signature"), native.get("allow_anonymous")):
        return None
    advice = _ADVICE[kind]
    if provider is not None:
        return f"Credentials: credential_provider {provider}."
    given = [name for name in _OPTIONS[kind] if name in native]
    if "profile" in native and given:
        return f"Credentials: AWS profile {native['profile']!r}. To use others pass {advice}."
    if given:
        shown = ", ".join(_of_option(name, native[name]) for name in given)
        return f"Credentials: options {shown}. To use others pass {advice}."
    # No "=" or ":" after a name: `redact` would take what follows for a secret.
    places = ", ".join(f"{name} ({found})" for name, found in _places(kind, native))
    return f"Looked for credentials in: {places}. Pass {advice}."


def _places(kind: str, native: Mapping[str, str]) -> Iterator[Place]:
    names = {"s3": "key and secret", "gcs": "token", "azure": "account_key and sas_token"}
    yield f"options {names[kind]}", "absent"
    yield "option credential_provider", "absent"
    if native.get("disable_config_load") == "true":
        yield "environment and files", "not used because of disable_config_load"
    else:
        for variable in _VARIABLES[kind]:
            yield variable, _of_variable(variable)
        if kind == "s3":
            yield from aws.places(native.get("profile"))
        elif kind == "gcs":
            present = Path(_GOOGLE_FILE).expanduser().is_file()
            yield _GOOGLE_FILE, "present" if present else "absent"
    yield "instance metadata", _of_metadata(kind, native)


def _of_option(name: str, value: str) -> str:
    if name != "credential_path":
        return name
    return f"{name} ({'the file exists' if os.path.isfile(value) else 'there is no such file'})"


def _of_variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        return "absent"
    if name == "AWS_ACCESS_KEY_ID" and value.startswith(_KEY_KINDS):
        return f"set, {value[:4]}…"
    if name == "AWS_PROFILE":
        return f"set, {value!r}"
    if name.endswith(("_FILE", "_CREDENTIALS")):
        return "set, the file exists" if os.path.isfile(value) else "set, but there is no such file"
    return "set"


def _of_metadata(kind: str, native: Mapping[str, str]) -> str:
    if kind == "s3" and os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return "not used because of AWS_EC2_METADATA_DISABLED"
    option = _METADATA.get(kind, "")
    if native.get(option) == "true":
        return f"not used because of {option}"
    return "asked, without success"
