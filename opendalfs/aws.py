"""AWS's shared files: the region, the endpoint and the credentials of a profile, as in boto3."""

from __future__ import annotations

import configparser
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Final

from .errors import OptionError

__all__ = ["endpoint", "profile_options", "region"]

Sections = Mapping[str, Mapping[str, str]]

_CONFIG: Final = ("AWS_CONFIG_FILE", "~/.aws/config")
_SHARED: Final = ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
_KEYS: Final = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
_ROLES: Final = ("role_arn", "web_identity_token_file")
# What OpenDAL would take before or instead of a profile's single sign-on: the role of a container is the
# machine's, which is also meant where a profile has no credentials of its own.
_OTHERS: Final = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")
_BEFORE_SSO: Final = (
    *_OTHERS,
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
_NO_METADATA: Final = {"disable_ec2_metadata": "true"}
# Read by OpenDAL itself; the last two are known to no other tool.
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_S3_ENDPOINT")


def region(profile: str | None) -> str:
    """Return the region to use where the options name none, as OpenDAL then refuses to start.

    Parameters
    ----------
    profile : str or None
        Name of the profile among the options.

    Returns
    -------
    str
        Of the environment, else of the profile, else ``us-east-1``: most servers that are not AWS take any
        region, and AWS's own tools fall back to this one.
    """
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(name):
            return os.environ[name]
    return _profile(profile).get("region") or "us-east-1"


def endpoint(profile: str | None) -> str | None:
    """Return the endpoint for S3 of the environment or of the profile, where the options name none.

    Parameters
    ----------
    profile : str or None
        Name of the profile among the options.

    Returns
    -------
    str or None
        By the order of boto3: ``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``, the ``s3`` of the profile's
        ``services`` section, its ``endpoint_url``. None when there is none of these.
    """
    found = _profile(profile)
    ignore = os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") or found.get(
        "ignore_configured_endpoint_urls", ""
    )
    if ignore.lower() == "true":
        return _public(profile) if any(os.environ.get(name) for name in _ENDPOINTS) else None
    for name in ("AWS_ENDPOINT_URL_S3", *_ENDPOINTS):
        if os.environ.get(name):
            return os.environ[name]
    return _service(found.get("services")).get("endpoint_url") or found.get("endpoint_url")


def _public(profile: str | None) -> str:
    """Return AWS's own endpoint, for OpenDAL would follow the environment where it is given none."""
    place = region(profile)
    return f"https://s3.{place}.amazonaws.com{'.cn' if place.startswith('cn-') else ''}"


def profile_options(name: str) -> dict[str, str]:
    """Return the options that make OpenDAL use the credentials of a profile and no others.

    OpenDAL reads a profile only when the environment holds no keys.

    Parameters
    ----------
    name : str
        Of the profile.

    Returns
    -------
    dict of str
        ``access_key_id``, ``secret_access_key`` and, where there is one, ``session_token``. No keys for
        single sign-on, which OpenDAL does itself. Empty for a profile without credentials, which stands for
        those of the machine: the role of an instance or a container.

    Raises
    ------
    OptionError
        If there is no such profile, or if OpenDAL cannot get its credentials, and would use others.
    """
    config, shared = _section(_CONFIG, name), _section(_SHARED, name)
    found = {**config, **shared}
    if not found:
        raise OptionError(
            f"there is no AWS profile {name!r} in {_path(_CONFIG)} or {_path(_SHARED)}: give another profile="
        )
    for option in _ROLES:
        if option in found:
            raise OptionError(
                f"the AWS profile {name!r} assumes a role, which OpenDAL does from options only: "
                "pass role_arn= and, as profile=, the source_profile"
            )
    if "sso_session" in found or "sso_start_url" in found:
        _check_environment(_BEFORE_SSO, f"the AWS profile {name!r} signs on at a server")
        return _NO_METADATA
    keys = _static(shared)
    if not keys and "credential_process" in found:
        raise OptionError(
            f"the AWS profile {name!r} runs a credential_process, which OpenDAL does not: "
            "pass what it prints as key=, secret= and token="
        )
    keys = keys or _static(config)
    if not keys:
        _check_environment(_OTHERS, f"the AWS profile {name!r} has no credentials of its own")
        return {}
    if not {"access_key_id", "secret_access_key"} <= keys.keys():
        raise OptionError(f"the AWS profile {name!r} has no access key and secret: give another profile=")
    return keys | _NO_METADATA


def _check_environment(variables: Sequence[str], says: str) -> None:
    """Raise when OpenDAL would use credentials of the environment instead of a profile's."""
    found = next((variable for variable in variables if os.environ.get(variable)), None)
    if found is not None:
        raise OptionError(
            f"{says}, and OpenDAL would use {found} of the environment: unset it, or pass the keys as options"
        )


def _static(section: Mapping[str, str]) -> dict[str, str]:
    return {option: section[name] for name, option in _KEYS.items() if section.get(name)}


def _profile(name: str | None) -> dict[str, str]:
    """Read a profile; without a name the one of the environment, or the default."""
    name = name or os.environ.get("AWS_PROFILE") or "default"
    return {**_section(_CONFIG, name), **_section(_SHARED, name)}


def _section(place: tuple[str, str], name: str) -> Mapping[str, str]:
    sections = _sections(place)
    # Only the configuration file writes "profile" before a name.
    written = [f"profile {name}", f'profile "{name}"'] if place is _CONFIG else []
    if place is _SHARED or name == "default":
        written.append(name)
    return next((sections[section] for section in written if section in sections), {})


def _service(name: str | None) -> dict[str, str]:
    """Read what a ``services`` section says of S3, whose settings are indented below ``s3 =``."""
    lines = _sections(_CONFIG).get(f"services {name}", {}).get("s3", "").splitlines() if name else []
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, mark, value in pairs if mark}


def _sections(place: tuple[str, str]) -> Sections:
    path = _path(place)
    try:
        found = os.stat(path)
    except OSError:
        return {}
    return _read(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: str, modified: int, size: int) -> Sections:
    """Parse a file; `modified` (nanoseconds) and `size` (bytes) are its version. A broken file is empty."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(path, "utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    return {name: dict(parser[name]) for name in parser.sections()}


def _path(place: tuple[str, str]) -> str:
    return os.path.expanduser(os.environ.get(place[0]) or place[1])
