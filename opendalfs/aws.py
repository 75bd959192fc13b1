"""AWS's shared configuration files: the region, endpoint and credentials of a profile, as in boto3."""

from __future__ import annotations

import configparser
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Final

from .errors import OptionError

__all__ = [
    "DefaultRegion",
    "endpoint",
    "needs_boto3",
    "opendal_signs_on",
    "places",
    "profile_options",
    "profile_settings",
    "region",
]

Sections = Mapping[str, Mapping[str, str]]

_CONFIG: Final = ("AWS_CONFIG_FILE", "~/.aws/config")
_SHARED: Final = ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
_KEYS: Final = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
_BOTO3: Final = {
    "role_arn": "assumes a role",
    "web_identity_token_file": "assumes a role",
    "login_session": "has a login_session",
    "credential_process": "has a credential_process",
}
_AFTER_KEYS: Final = ("login_session", "credential_process")
"""What boto3 uses only if the credentials file has no keys."""

_SINGLE_SIGN_ON: Final = ("sso_session", "sso_start_url")
_SIGN_ON_OF_OPENDAL: Final = ("sso_start_url", "sso_region", "sso_account_id", "sso_role_name")
# Variables of credentials that OpenDAL prefers to a profile. A profile without credentials stands for those
# of the machine, which include the role of a container; a profile with single sign-on does not.
_OTHERS: Final = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")
_BEFORE_SSO: Final = (
    *_OTHERS,
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
_NO_METADATA: Final = {"disable_ec2_metadata": "true"}
# Variables that OpenDAL reads; no other tool reads the last two.
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_S3_ENDPOINT")


class DefaultRegion(str):
    """A region that nothing names: a bucket may be in another one, which its server then says."""

    __slots__ = ()


def region(profile: str | None) -> str:
    """Return the region if the options name none. OpenDAL needs one.

    Parameters
    ----------
    profile : str or None
        Name of the profile in the options.

    Returns
    -------
    str
        The region of the environment, or of the profile, or else `DefaultRegion`: ``us-east-1``.
        Most other servers accept any region.
    """
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(name):
            return os.environ[name]
    return _profile(profile).get("region") or DefaultRegion("us-east-1")


def endpoint(profile: str | None) -> str | None:
    """Return the endpoint of S3 in the environment or in the profile, if the options name none.

    Parameters
    ----------
    profile : str or None
        Name of the profile in the options.

    Returns
    -------
    str or None
        The first one in the order of boto3: ``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``, ``s3`` in the
        profile's ``services`` section, the profile's ``endpoint_url``. None if all are missing.
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
    """Return AWS's own endpoint. Without one, OpenDAL would use that of the environment."""
    name = region(profile)
    return f"https://s3.{name}.amazonaws.com{'.cn' if name.startswith('cn-') else ''}"


def profile_settings(name: str | None) -> tuple[str, dict[str, str]]:
    """Return the name and the settings of a profile; without a name, of the one in use.

    Parameters
    ----------
    name : str or None
        Name of the profile in the options.

    Returns
    -------
    str
        The name in the options or in the environment, or ``default``.
    dict of str
        Empty if there is no such profile.
    """
    return name or os.environ.get("AWS_PROFILE") or "default", _profile(name)


def needs_boto3(name: str | None) -> str | None:
    """Return what a profile does that boto3 can do and OpenDAL cannot.

    Parameters
    ----------
    name : str or None
        Name of the profile in the options.

    Returns
    -------
    str or None
        Such as ``"assumes a role"``; None for a profile with keys, or without credentials, and for one that
        keys or a role of the environment replace.
    """
    if name is None and any(os.environ.get(variable) for variable in _OTHERS):
        return None
    found = _profile(name)
    keys = _static(_section(_SHARED, profile_settings(name)[0]))
    for setting, text in _BOTO3.items():
        if setting in found and not (keys and setting in _AFTER_KEYS):
            return text
    return "uses single sign-on" if any(setting in found for setting in _SINGLE_SIGN_ON) else None


def opendal_signs_on(name: str | None) -> bool:
    """Whether OpenDAL can use a profile with single sign-on; it reads no section of an ``sso_session``.

    Parameters
    ----------
    name : str or None
        Name of the profile in the options.
    """
    section = _section(_CONFIG, profile_settings(name)[0])
    complete = all(section.get(setting) for setting in _SIGN_ON_OF_OPENDAL)
    return complete and not _BOTO3.keys() & _profile(name).keys()


def places(name: str | None) -> list[tuple[str, str]]:
    """Return the sections of AWS's files that credentials are looked for in, and what is there.

    Parameters
    ----------
    name : str or None
        Name of the profile in the options.

    Returns
    -------
    list of pairs
        File and section, and the names of the settings that concern credentials; no values.
    """
    profile, _ = profile_settings(name)
    found = []
    for file in (_SHARED, _CONFIG):
        section = _section(file, profile)
        settings = [setting for setting in (*_KEYS, *_BOTO3, *_SINGLE_SIGN_ON) if setting in section]
        if settings:
            text = f"has {', '.join(settings)}"
            if set(settings) & set(_SINGLE_SIGN_ON):
                text += ", which needs a session of aws sso login"
        elif section:
            text = "has no credentials"
        else:
            text = "absent" if os.path.isfile(_path(file)) else "no such file"
        found.append((f"{os.environ.get(file[0]) or file[1]} [{profile}]", text))
    return found


def profile_options(name: str) -> dict[str, str]:
    """Return the options with which OpenDAL uses the credentials of a profile and no others.

    OpenDAL itself reads a profile only if the environment contains no keys.

    Parameters
    ----------
    name : str
        Name of the profile.

    Returns
    -------
    dict of str
        ``access_key_id``, ``secret_access_key`` and, if there is one, ``session_token``. No keys for single
        sign-on, which OpenDAL supports. Empty for a profile without credentials, which stands for those of
        the machine: the role of an instance or a container.

    Raises
    ------
    OptionError
        If the profile does not exist, or if OpenDAL cannot use its credentials and would use others.
    """
    config, shared = _section(_CONFIG, name), _section(_SHARED, name)
    found = {**config, **shared}
    if not found:
        raise OptionError(
            f"no AWS profile {name!r} in {_path(_CONFIG)} or {_path(_SHARED)}: pass another profile="
        )
    if any(setting in found for setting in _SINGLE_SIGN_ON):
        _check_environment(_BEFORE_SSO, f"the AWS profile {name!r} uses single sign-on")
        return _NO_METADATA
    keys = _static(shared)
    keys = keys or _static(config)
    if not keys:
        _check_environment(_OTHERS, f"the AWS profile {name!r} has no credentials of its own")
        return {}
    if not {"access_key_id", "secret_access_key"} <= keys.keys():
        raise OptionError(f"the AWS profile {name!r} has no access key or no secret: pass another profile=")
    return keys | _NO_METADATA


def _check_environment(variables: Sequence[str], problem: str) -> None:
    """Raise if OpenDAL would use credentials of the environment instead of a profile's."""
    found = next((variable for variable in variables if os.environ.get(variable)), None)
    if found is not None:
        raise OptionError(
            f"{problem}, but OpenDAL would use {found} of the environment: unset it, or pass keys as options"
        )


def _static(section: Mapping[str, str]) -> dict[str, str]:
    return {option: section[name] for name, option in _KEYS.items() if section.get(name)}


def _profile(name: str | None) -> dict[str, str]:
    """Return the settings of a profile; without a name, of the one in the environment or the default."""
    name = name or os.environ.get("AWS_PROFILE") or "default"
    return {**_section(_CONFIG, name), **_section(_SHARED, name)}


def _section(file: tuple[str, str], name: str) -> Mapping[str, str]:
    sections = _sections(file)
    # Only the configuration file has "profile" before a name.
    headings = [f"profile {name}", f'profile "{name}"'] if file is _CONFIG else []
    if file is _SHARED or name == "default":
        headings.append(name)
    return next((sections[heading] for heading in headings if heading in sections), {})


def _service(name: str | None) -> dict[str, str]:
    """Return the settings of S3 in a ``services`` section, where they are indented below ``s3 =``."""
    lines = _sections(_CONFIG).get(f"services {name}", {}).get("s3", "").splitlines() if name else []
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, mark, value in pairs if mark}


def _sections(file: tuple[str, str]) -> Sections:
    path = _path(file)
    try:
        found = os.stat(path)
    except OSError:
        return {}
    return _read(path, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: str, modified: int, size: int) -> Sections:
    """Return the sections of a file; none if it is invalid. The other arguments are keys of the cache."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(path, "utf-8")
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    return {name: dict(parser[name]) for name in parser.sections()}


def _path(file: tuple[str, str]) -> str:
    variable, default = file
    return os.path.expanduser(os.environ.get(variable) or default)
