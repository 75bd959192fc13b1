"""The option ``credential_provider``: how it is named, compared and pickled, without its credentials."""

from __future__ import annotations

import hashlib
import importlib
import io
import pickle
import sys
from types import FunctionType, MethodType
from typing import Any, Final, Protocol
from uuid import uuid4
from weakref import WeakValueDictionary

from opendalfs.errors import OptionError
from opendalfs.services import Service

__all__ = ["AwsProfile", "CredentialProvider", "check_service"]

SERVICES: Final = ("s3", "gcs", "azblob", "azdls")
"""OpenDAL's names of the services that take providers."""

_ATTRIBUTES: Final = ("get_credentials", "get_frozen_credentials", "get_token", "refresh")
_SDK_PACKAGES: Final = ("boto3", "botocore", "aiobotocore", "google", "azure")
"""Packages whose objects hold tokens and keys, some of which would be pickled with them."""


class AwsProfile:
    """A profile of AWS's shared configuration files; callable as a provider.

    Parameters
    ----------
    profile : str
        Name of the profile.
    region : str
        Region of the server that returns the credentials, for a role.
    """

    def __init__(self, profile: str, region: str) -> None:
        self.profile = profile
        self.region = region

    def __call__(self) -> Any:
        """Return a session of boto3."""
        return importlib.import_module("boto3").Session(profile_name=self.profile, region_name=self.region)


class CredentialProvider:
    """Where credentials come from; equal for the same object.

    Parameters
    ----------
    source : object
        A callable, or an object of boto3, google-auth or azure-identity.
    """

    __slots__ = ("__weakref__", "_token", "kept", "source")

    def __init__(self, source: Any) -> None:
        self.source = source
        self._token = uuid4().hex
        self.kept: Any = None
        """The object of an SDK that the source has returned, which renews its credentials by itself."""

    @classmethod
    def of(cls, value: Any) -> CredentialProvider:
        """Return a provider for the value of an option.

        Raises
        ------
        OptionError
            If it is none.
        """
        if isinstance(value, cls):
            return value
        if not callable(value) and not any(hasattr(value, name) for name in _ATTRIBUTES):
            # The value may be a secret, so only its type is shown.
            raise OptionError(
                f"credential_provider must be a callable or an object with credentials, not a "
                f"{type(value).__name__}: pass a function that returns (options, expiry)\n"
                "Or a boto3.Session, google-auth Credentials, an azure-identity credential, or a credential "
                "provider of Polars."
            )
        return cls(value)

    @property
    def name(self) -> str:
        """Module and name of the function or class."""
        source = self.source if hasattr(self.source, "__qualname__") else type(self.source)
        profile = f" {self.source.profile!r}" if isinstance(self.source, AwsProfile) else ""
        return f"{source.__module__}.{source.__qualname__}{profile}"

    @property
    def _identity(self) -> tuple[int, ...]:
        source = self.source
        if isinstance(source, MethodType):
            # A new object each time that it is looked up.
            return id(source.__self__), id(source.__func__)
        return (id(source),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CredentialProvider) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        """Return the name, and what tells two objects of a class apart: instances are cached by it."""
        return f"<{self.name} at {'.'.join(f'{part:#x}' for part in self._identity)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the source, from which the other process gets credentials of its own."""
        source = self.source
        file = io.BytesIO()
        try:
            _Pickler(file).dump(source)
        except Exception as exc:
            if isinstance(source, FunctionType) and "cloudpickle" in sys.modules:
                self._check_by_value()
                return type(self), (source,)
            raise self._unpicklable(exc) from None
        key = f"{self._token}-{hashlib.sha256(file.getvalue()).hexdigest()}"
        _pickled.setdefault(key, self)
        return _unpickle, (source, key)

    def _check_by_value(self) -> None:
        """Raise if cloudpickle would pickle an object that holds tokens or keys with a function."""
        pickler = type("Pickler", (_Refusal, sys.modules["cloudpickle"].Pickler), {})
        try:
            pickler(io.BytesIO()).dump(self.source)
        except Exception as exc:
            raise self._unpicklable(exc) from None

    def _unpicklable(self, exc: Exception) -> pickle.PicklingError:
        return pickle.PicklingError(
            f"cannot pickle the credential_provider {self.name}: "
            "pass a function of a module that returns it, such as `def credentials(): ...`\n"
            f"{type(exc).__name__}: {exc}"
        )


_pickled: Final[WeakValueDictionary[str, CredentialProvider]] = WeakValueDictionary()
"""Providers that this process has pickled or unpickled, by their tokens and the state of their sources."""


def _unpickle(source: Any, key: str) -> CredentialProvider:
    """Return the provider of an earlier pickle, so that the tasks of a process share its credentials."""
    return _pickled.setdefault(key, CredentialProvider(source))


class _Refusal:
    """The part of a pickler that raises for an object with tokens or keys, wherever one is referred to."""

    def persistent_id(self, obj: Any) -> None:
        if any(_is_of_sdk(base) for base in type(obj).__mro__):
            kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
            raise pickle.PicklingError(f"the token and keys of a {kind} would be pickled with it")


class _Pickler(_Refusal, pickle.Pickler):
    pass


def _is_of_sdk(base: type) -> bool:
    """Whether a class is of an SDK, and no protocol, which has no attributes of its own."""
    return base.__module__.partition(".")[0] in _SDK_PACKAGES and Protocol not in base.__bases__


def check_service(service: Service) -> None:
    """Raise if a service takes no provider.

    Raises
    ------
    OptionError
    """
    if service.scheme not in SERVICES:
        raise OptionError(
            f"{service.scheme} takes no credential_provider: pass credentials as options\n"
            f"These services take one: {', '.join(SERVICES)}."
        )
