"""Options that prevent OpenDAL from using other credentials than the user's options name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from . import aws
from .azure import account_of
from .credential_providers import CredentialProvider
from .credential_providers.aws_profile import has_boto3, profile_provider
from .credential_providers.provider import check_service
from .errors import OptionError
from .services import Service

__all__ = ["with_credentials"]


def with_credentials(
    service: Service, native: Mapping[str, str], provider: Any = None
) -> tuple[dict[str, str], CredentialProvider | None]:
    """Return options with which OpenDAL uses no other credentials than the ones that they name.

    OpenDAL prefers some credentials of the environment to the options, and falls back to others.

    Parameters
    ----------
    service : Service
        The service that the options are for.
    native : Mapping
        Options as `options.check` returns them.
    provider : object, optional
        Value of the option ``credential_provider``.

    Returns
    -------
    dict of str
        The options, with the keys of an AWS profile, the endpoint that AWS's tools would use, and OpenDAL's
        switches that disable other sources of credentials.
    CredentialProvider or None
        Where credentials come from that are not among the options.

    Raises
    ------
    OptionError
        If the options name a part of a credential, one that OpenDAL would ignore, or one beside a provider.
    """
    if provider is not None:
        return _with_provider(service, dict(native)), CredentialProvider.of(provider)
    if service.scheme == "s3":
        return _s3(service, dict(native))
    if service.scheme.startswith("gcs"):
        return _gcs(dict(native)), None
    if service.accounts:
        return _azure(service, dict(native)), None
    return dict(native), None


_BESIDE_PROVIDER: Final = frozenset(
    {
        "access_key_id",
        "secret_access_key",
        "session_token",
        "credential",
        "credential_path",
        "token",
        "service_account",
        "account_key",
        "sas_token",
        "client_secret",
    }
)


def _with_provider(service: Service, native: dict[str, str]) -> dict[str, str]:
    """Return options for the credentials of a provider and no others."""
    check_service(service)
    beside = sorted(_BESIDE_PROVIDER & native.keys())
    if beside or _is_anonymous(native):
        raise OptionError(f"credential_provider= and {beside[0] if beside else 'anon'}=: pass one of them")
    if service.scheme == "s3":
        if "endpoint" not in native and native.get("disable_config_load") != "true":
            endpoint = aws.endpoint(native.get("profile"))
            if endpoint is not None:
                native["endpoint"] = endpoint
        # Its region is among the options already.
        native.pop("profile", None)
        return native | {"disable_config_load": "true", "disable_ec2_metadata": "true"}
    if service.scheme == "gcs":
        return native | {"disable_config_load": "true", "disable_vm_metadata": "true"}
    account = native.get("account_name") or account_of(native.get("endpoint", ""))
    if account is None:
        raise OptionError(f"a credential_provider of {service.scheme} needs the account: pass account_name=")
    return native | {"account_name": account}


def _s3(service: Service, native: dict[str, str]) -> tuple[dict[str, str], CredentialProvider | None]:
    reads_files = native.get("disable_config_load") != "true"
    if "endpoint" not in native and reads_files:
        endpoint = aws.endpoint(native.get("profile"))
        if endpoint is not None:
            native["endpoint"] = endpoint
    if _is_anonymous(native):
        return native, None
    keys = [f"{name}=" for name in ("access_key_id", "secret_access_key", "session_token") if name in native]
    missing = [f"{name}=" for name in ("access_key_id", "secret_access_key") if name not in native]
    if keys and missing:
        raise OptionError(
            f"{' and '.join(keys)} without {' and '.join(missing)}: pass both, as OpenDAL would use other "
            "credentials"
        )
    if keys or not reads_files:
        return native, None
    return _s3_profile(service, native)


def _s3_profile(service: Service, native: dict[str, str]) -> tuple[dict[str, str], CredentialProvider | None]:
    """Return options for the profile in use, and its provider if boto3 gets its credentials.

    Raises
    ------
    OptionError
        If boto3 is missing, and OpenDAL would use other credentials instead.
    """
    profile = native.get("profile")
    need = aws.needs_boto3(profile)
    name, settings = aws.profile_settings(profile)
    if need is not None and has_boto3():
        region = settings.get("region") or native["region"]
        return _with_provider(service, native), profile_provider(
            name, region, tuple(sorted(settings.items()))
        )
    if need is not None and not aws.opendal_signs_on(profile):
        raise OptionError(
            f"the AWS profile {name!r} {need}, which needs boto3: pip install boto3\n"
            "Or pass keys as options: key=, secret=, token=; a role as role_arn=, its source_profile as "
            "profile=."
        )
    if need is not None or profile is not None:
        native |= aws.profile_options(name)
    return native, None


_GCS_IDENTITIES: Final = ("credential", "credential_path", "token", "service_account")


def _gcs(native: dict[str, str]) -> dict[str, str]:
    """Disable the sources that OpenDAL falls back to if it cannot read the credentials in the options."""
    named = {name for name in _GCS_IDENTITIES if name in native}
    if named:
        native["disable_config_load"] = "true"
    if named - {"service_account"}:
        # A service account without other credentials is one of the machine's.
        native["disable_vm_metadata"] = "true"
    return native


# The variables of an account and of its secret, in the order in which OpenDAL reads them.
_AZURE_VARIABLES: Final = (
    ("AZBLOB_ACCOUNT_NAME", "AZBLOB_ACCOUNT_KEY"),
    ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
    ("AZBLOB_ACCOUNT_NAME", "AZURE_STORAGE_SAS_TOKEN"),
    ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_SAS_TOKEN"),
)


def _azure(service: Service, native: dict[str, str]) -> dict[str, str]:
    if _is_anonymous(native) or "sas_token" in native:
        return native
    if "account_name" not in native:
        account = account_of(native.get("endpoint", ""))
        if account is not None:
            native["account_name"] = account
    if "account_key" in native:
        if "account_name" not in native:
            raise OptionError(
                "account_key= without account_name=: pass both, as OpenDAL would use other credentials"
            )
        return native
    if service.scheme == "azblob":
        _check_account(native.get("account_name"))
    return native


def _check_account(account: str | None) -> None:
    """Raise if OpenDAL would use the account in the environment and not the one in the options."""
    for name, secret in _AZURE_VARIABLES:
        other = os.environ.get(name)
        if not other or not os.environ.get(secret):
            continue
        if account and other.lower() != account.lower():
            raise OptionError(
                f"the options are for the account {account!r}, but {secret} in the environment belongs to "
                f"{other!r}: pass account_key=, sas_token= or anon=True, or unset {name}"
            )
        return


def _is_anonymous(native: Mapping[str, str]) -> bool:
    return "true" in (native.get("skip_signature"), native.get("allow_anonymous"))
