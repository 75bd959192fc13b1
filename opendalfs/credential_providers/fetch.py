"""Calls a provider and returns its credentials in the names of OpenDAL's options."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from opendalfs.errors import OptionError
from opendalfs.services import Service

from . import sdk_objects
from .azure_sas import DelegationKey, request_key
from .provider import CredentialProvider

__all__ = ["Fetched", "Wait", "fetch"]

Wait = Callable[[Callable[[], Awaitable[Any]]], Any]
"""Calls a coroutine function and returns its result."""

_MILLISECONDS: Final = 1e11
"""An expiry after this is taken to be in milliseconds: in seconds it is the year 5138."""

_NAMES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    # The names of s3fs, botocore, STS and the object_store crate, which Polars uses.
    "s3": {
        "access_key_id": ("key", "aws_access_key_id", "access_key", "AccessKeyId"),
        "secret_access_key": ("secret", "aws_secret_access_key", "secret_key", "SecretAccessKey"),
        "session_token": ("token", "aws_session_token", "SessionToken"),
    },
    "gcs": {
        "token": ("bearer_token", "google_bearer_token", "access_token"),
        "credential": (),
    },
    "azure": {
        "bearer_token": ("token", "azure_storage_token", "access_token"),
        "sas_token": ("sas_key", "azure_storage_sas_key", "azure_storage_sas_token"),
        "account_key": ("azure_storage_account_key", "access_key", "azure_storage_access_key"),
    },
}
_NEEDED: Final = {"s3": ("access_key_id", "secret_access_key")}
_EXPIRY: Final = ("Expiration", "expiry_time", "expiry")
"""Names of the expiry among the credentials, as STS and botocore write it."""

_IGNORED: Final = frozenset(
    {"aws_region", "region", "account_name", "azure_storage_account_name", "Version", *_EXPIRY}
)
"""What providers return too, and is no credential; the version is that of ``credential_process``."""


class Fetched:
    """What a provider has returned.

    Parameters
    ----------
    values : Mapping
        Credentials in the names of OpenDAL's options.
    expires : float
        When they expire, in seconds since the epoch; infinity if that is unknown.
    check_after : float, optional
        Seconds after which to ask a provider again that renews its credentials by itself.
    """

    __slots__ = ("_key", "_values", "check_after", "expires")

    def __init__(
        self,
        values: Mapping[str, str],
        expires: float,
        check_after: float | None = None,
        key: DelegationKey | None = None,
    ) -> None:
        self._values = dict(values)
        self._key = key
        self.expires = expires
        self.check_after = check_after

    def options(self, container: str) -> dict[str, str]:
        """Return the options of OpenDAL for a container."""
        return dict(self._values) if self._key is None else {"sas_token": self._key.sign(container)}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secret values that are not among the options."""
        return () if self._key is None else (self._key.value,)

    def same_as(self, other: Fetched) -> bool:
        """Whether the credentials are equal."""
        return self._values == other._values and self._key == other._key


def fetch(
    provider: CredentialProvider,
    service: Service,
    native: Mapping[str, str],
    wait: Wait,
    *,
    refused: bool = False,
) -> Fetched:
    """Call a provider.

    Parameters
    ----------
    provider : CredentialProvider
        The provider.
    service : Service
        The service that the credentials are for.
    native : Mapping
        The other options.
    wait : callable
        Waits for the result of a coroutine function.
    refused : bool
        Whether the server has refused the last ones, so that nothing that is cached will do.

    Returns
    -------
    Fetched

    Raises
    ------
    OptionError
        If it returns something else than credentials.
    Exception
        What the provider raises.
    """
    value = provider.source
    if callable(value):
        # Also one with methods such as `get_credentials`. Filesystems of other options may replace what is
        # kept meanwhile.
        kept = None if refused else provider.kept
        value = _call(value, wait) if kept is None else kept
        provider.kept = value if sdk_objects.is_sdk_object(value) else None
    if sdk_objects.is_sdk_object(value):
        try:
            found = sdk_objects.credentials_of(value, service, native, wait, refused=refused)
        except BaseException:
            # The source may return one that works, such as with the files of today.
            provider.kept = None
            raise
        values, expires, check_after = found
    else:
        values, expires = _split(provider, value)
        check_after = None
    options = _options(provider, service, values)
    seconds = _seconds(provider, expires)
    if "bearer_token" not in options:
        return Fetched(options, seconds, check_after)
    key = request_key(options["bearer_token"], service, native)
    return Fetched({}, key.expires, None, key)


def _call(source: Any, wait: Wait) -> Any:
    clear = getattr(source, "clear_cached_credentials", None)
    if callable(clear):
        # Polars keeps credentials until the moment when they expire.
        clear()
    found = source()
    if not inspect.isawaitable(found):
        return found

    async def result() -> Any:
        return await found

    return wait(result)


def _split(provider: CredentialProvider, value: Any) -> tuple[Mapping[str, Any], Any]:
    """Return options and expiry from what a callable has returned."""
    if isinstance(value, Mapping):
        return value, next((value[name] for name in _EXPIRY if value.get(name) is not None), None)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Mapping):
        return value
    # The value may be a secret, so only its type is shown.
    raise OptionError(
        f"{provider.name} returned a {type(value).__name__}: return (options, expiry), "
        "or an object of boto3, google-auth or azure-identity"
    )


def _options(provider: CredentialProvider, service: Service, values: Mapping[str, Any]) -> dict[str, str]:
    kind = "azure" if service.accounts else service.scheme
    names = _NAMES[kind]
    known = {alias: name for name, aliases in names.items() for alias in (name, *aliases)}
    options: dict[str, str] = {}
    for name, value in values.items():
        if value is None or name in _IGNORED:
            continue
        if name not in known:
            raise OptionError(
                f"{provider.name} returned {name!r}, which is no credential of {service.scheme}: pass it to "
                f"the filesystem\nCredentials are: {', '.join(names)}."
            )
        if not isinstance(value, str) or not value:
            raise OptionError(
                f"{provider.name} returned {name!r}, which is empty or no string: return a string"
            )
        options[known[name]] = value.lstrip("?") if known[name] == "sas_token" else value
    missing = [name for name in _NEEDED.get(kind, ()) if name not in options]
    if missing or not options:
        raise OptionError(
            f"{provider.name} returned no {' and no '.join(missing or names)}: return credentials of "
            f"{service.scheme}"
        )
    return options


def _seconds(provider: CredentialProvider, expires: Any) -> float:
    """Return an expiry in seconds since the epoch."""
    if expires is None:
        return float("inf")
    if isinstance(expires, datetime):
        # google-auth has times in UTC without saying so.
        return (expires if expires.tzinfo else expires.replace(tzinfo=UTC)).timestamp()
    if isinstance(expires, str):
        return _seconds(provider, _parse_time(provider, expires))
    if isinstance(expires, (int, float)) and not isinstance(expires, bool) and expires < _MILLISECONDS:
        return float(expires)
    raise OptionError(
        f"{provider.name} returned an expiry that is a {type(expires).__name__}: return a datetime, "
        "seconds since the epoch, or None"
    )


def _parse_time(provider: CredentialProvider, text: str) -> datetime:
    """Parse an expiry as STS and ``credential_process`` write it."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise OptionError(
            f"{provider.name} returned an expiry that is no ISO 8601 time: return a datetime, "
            "seconds since the epoch, or None"
        ) from None
