"""Objects of boto3, google-auth and azure-identity, which get and renew credentials by themselves.

Only their public attributes are used, and none of these packages is imported before one of its objects needs
it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from opendalfs.errors import OptionError
from opendalfs.services import Service

__all__ = ["credentials_of", "is_sdk_object"]

Found = tuple[Mapping[str, Any], Any, float | None]
"""Credentials, their expiry, and the seconds after which to ask again."""

_CHECK_AFTER: Final = 60.0
"""botocore does not show when its credentials expire. It renews them 10 to 15 minutes before that, when it is
asked for them, which takes no request otherwise."""

_AZURE_SCOPE: Final = "https://storage.azure.com/.default"
_GCS_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"


def is_sdk_object(value: Any) -> bool:
    """Whether a value that is not called is an object of one of the packages."""
    return not isinstance(value, (type, tuple, Mapping)) and _kind_of(value) is not None


def credentials_of(
    value: Any,
    service: Service,
    native: Mapping[str, str],
    wait: Callable[[Callable[[], Awaitable[Any]]], Any],
    *,
    refused: bool,
) -> Found:
    """Return the credentials of an object.

    Parameters
    ----------
    value : object
        Of boto3, google-auth or azure-identity.
    service : Service
        The service that they are for.
    native : Mapping
        The other options.
    wait : callable
        Waits for the result of a coroutine function.
    refused : bool
        Whether the server has refused the last ones.

    Returns
    -------
    tuple
        Credentials, their expiry, and the seconds after which to ask again.

    Raises
    ------
    OptionError
        If the object is for another service, or has no credentials.
    """
    kind = _kind_of(value)
    expected = "azure" if service.accounts else service.scheme
    if kind != expected:
        raise OptionError(
            f"a {type(value).__name__} has credentials of {kind}, not of {service.scheme}: pass another one"
        )

    def result(function: Callable[..., Any], *args: Any) -> Any:
        found = function(*args)
        if not inspect.isawaitable(found):
            return found

        async def awaited() -> Any:
            return await found

        return wait(awaited)

    if kind == "s3":
        return _aws(value, result)
    if kind == "gcs":
        return _google(value, native.get("scope", _GCS_SCOPE), refused=refused)
    token = result(value.get_token, _AZURE_SCOPE)
    return {"bearer_token": token.token}, token.expires_on, None


def _kind_of(value: Any) -> str | None:
    if hasattr(value, "get_credentials") or hasattr(value, "get_frozen_credentials"):
        return "s3"
    if hasattr(value, "get_token"):
        return "azure"
    if hasattr(value, "refresh") and hasattr(value, "expiry") and hasattr(value, "token"):
        return "gcs"
    return None


def _aws(value: Any, result: Callable[..., Any]) -> Found:
    credentials = result(value.get_credentials) if hasattr(value, "get_credentials") else value
    if credentials is None:
        raise OptionError(
            f"the {type(value).__name__} has found no credentials: check its profile and the environment"
        )
    found = credentials
    if hasattr(credentials, "get_frozen_credentials"):
        found = result(credentials.get_frozen_credentials)
    keys = {
        "access_key_id": found.access_key,
        "secret_access_key": found.secret_key,
        "session_token": found.token,
    }
    return keys, None, _CHECK_AFTER


def _google(value: Any, scope: str, *, refused: bool) -> Found:
    auth = importlib.import_module("google.auth.credentials")
    scoped = auth.with_scopes_if_required(value, [scope])
    if refused or not scoped.valid:
        try:
            transport = importlib.import_module("google.auth.transport.requests")
        except ImportError as exc:
            raise ImportError("google-auth needs requests: pip install requests") from exc
        scoped.refresh(transport.Request())
    return {"token": scoped.token}, scoped.expiry, None
