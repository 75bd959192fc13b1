"""Credentials of a provider: fetched in a worker, renewed before they expire, one fetch at a time.

A request never waits for credentials while it has valid ones: from `MARGIN` before they expire, the next
request starts a fetch and goes on with those it has. It waits if there are none, if they have expired, and if
the server has refused them.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from typing import Final

from opendalfs.credential_providers import CredentialProvider, Fetched, fetch
from opendalfs.error_translation import kind_of
from opendalfs.errors import redact
from opendalfs.options import secret_values
from opendalfs.runtime import workers
from opendalfs.runtime.tasks import run
from opendalfs.services import Service

__all__ = ["MARGIN", "LiveCredentials", "is_denial", "placeholder"]

MARGIN: Final = 300.0
"""Seconds before credentials expire in which they are renewed; a tenth of what is left, if that is less."""

_MARGIN_RATIO: Final = 0.1
_PAUSE: Final = 10.0
"""Seconds between attempts while a provider fails and its last credentials are still valid."""

_UNHELPFUL: Final = 60.0
"""Seconds without a renewal for denials of unknown reason, after new credentials were denied as well."""

_KEPT: Final = 3
"""Older credentials whose values are removed from texts: calls that still use them may fail."""

# Codes of S3, Azure and Google. A HEAD is denied without a body, and so without a code.
_EXPIRED: Final = re.compile(
    r"Expired|InvalidAuthenticationInfo|AuthenticationFailed|authError|UNAUTHENTICATED|"
    r"InvalidToken|TokenRefreshRequired|response: Parts \{ status: 401\b"
)
_DENIED: Final = re.compile(r"response: Parts \{ status: 403\b")
_HEAD: Final = re.compile(r"response: Parts \{ status: 400\b")
_CODE: Final = re.compile(r"<Code>|\bcode: \"[A-Z]|\"x-ms-error-code\"", re.I)

_PLACEHOLDERS: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": {"access_key_id": "none", "secret_access_key": "none"},
    "gcs": {"token": "none"},
    "azblob": {"sas_token": "sig=none"},
    "azdls": {"sas_token": "sig=none"},
}

_log = logging.getLogger("opendalfs")


def placeholder(service: Service) -> Mapping[str, str]:
    """Return credentials for an operator that sends no request."""
    return _PLACEHOLDERS[service.scheme]


def is_denial(exc: BaseException) -> bool:
    """Whether an error of OpenDAL may be that credentials have expired."""
    kind = kind_of(exc)
    return kind == "PermissionDenied" or (kind == "Unexpected" and _says_expired(exc))


def _says_expired(exc: BaseException) -> bool:
    text = str(exc)
    return bool(_EXPIRED.search(text)) or (
        _HEAD.search(text) is not None and _CODE.search(text) is None and "stat" in text
    )


class LiveCredentials:
    """The newest credentials of a provider for one service and set of options.

    Parameters
    ----------
    service : Service
        The service.
    native : Mapping
        The options that decide on the credentials, such as the account.
    provider : CredentialProvider
        Where they come from.

    Attributes
    ----------
    number : int
        Counts the different credentials that the provider has returned.
    """

    def __init__(self, service: Service, native: Mapping[str, str], provider: CredentialProvider) -> None:
        self.service = service
        self.number = 0
        self._native = dict(native)
        self.provider = provider
        self._lock = threading.Lock()
        self._fetched: Fetched | None = None
        self._used: deque[tuple[str, ...]] = deque(maxlen=_KEPT)
        self._future: Future[Exception | None] | None = None
        self._due = 0.0
        self._refused = False
        self._unhelpful_until = 0.0

    @property
    def fresh(self) -> bool:
        """Whether there are credentials that need no renewal yet."""
        return time.time() < self._due

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no text may contain, the longest first."""
        found = {value for values in list(self._used) for value in values}
        return tuple(sorted(found, key=len, reverse=True))

    def options(self, container: str) -> tuple[int, Mapping[str, str]]:
        """Return the number of the newest credentials, and the options for OpenDAL that hold them."""
        with self._lock:
            number, fetched = self.number, self._fetched
        if fetched is None:
            return number, placeholder(self.service)
        options = fetched.options(container)
        self._used.append(secret_values(options) + fetched.secrets)
        return number, options

    def renew(self, seconds: float) -> None:
        """Renew the credentials if they are due; wait if none are valid.

        Parameters
        ----------
        seconds : float
            How long to wait.

        Raises
        ------
        PermissionError
            If the provider fails.
        TimeoutError
            If it takes longer.
        """
        future = self._begin()
        if future is None:
            return
        try:
            workers.run(partial(future.result, seconds), seconds)
        except TimeoutError:
            raise self._late(seconds) from None
        self._check(future)

    async def renew_async(self, seconds: float) -> None:
        """Do what `renew` does."""
        future = self._begin()
        if future is None:
            return
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), seconds)
        except TimeoutError:
            raise self._late(seconds) from None
        self._check(future)

    def refuse(self, exc: Exception, number: int, *, again: bool) -> bool:
        """Whether to repeat a request that was denied, because it may have used expired credentials.

        If so, and if there are no newer ones yet, the next request waits for them.

        Parameters
        ----------
        exc : Exception
            The error, of OpenDAL.
        number : int
            Number of the credentials that the request used.
        again : bool
            Whether the request has been repeated already for this reason.
        """
        if not is_denial(exc):
            return False
        now = time.time()
        says_expired = _says_expired(exc)
        with self._lock:
            if number < self.number:
                return True
            if again:
                if not says_expired:
                    self._unhelpful_until = now + _UNHELPFUL
                return False
            if not says_expired and (now < self._unhelpful_until or not _DENIED.search(str(exc))):
                return False
            self._refused, self._due = True, 0.0
            return True

    def _begin(self) -> Future[Exception | None] | None:
        """Start a fetch unless one is running; return it if the caller must wait for it."""
        now = time.time()
        with self._lock:
            if now < self._due:
                return None
            future, starts = self._future, self._future is None
            if future is None:
                future = self._future = Future()
                future.set_running_or_notify_cancel()
            fetched = self._fetched
            valid = fetched is not None and not self._refused and now < fetched.expires
        if starts:
            workers.start(partial(self._fetch, future, self._refused))
        return None if valid else future

    def _fetch(self, future: Future[Exception | None], refused: bool) -> None:
        error: Exception | None = None
        try:
            found = fetch(self.provider, self.service, self._native, run, refused=refused)
            with self._lock:
                self._install(found)
                self._future = None
        except Exception as exc:
            error = exc
            with self._lock:
                fetched, now = self._fetched, time.time()
                if fetched is not None and not self._refused and now < fetched.expires:
                    self._due = min(now + _PAUSE, fetched.expires)
                    _log.warning("%s: %s", self._failed(exc), redact(str(exc), self.secrets))
                self._future = None
        future.set_result(error)

    def _install(self, found: Fetched) -> None:
        now = time.time()
        if self._fetched is None or not found.same_as(self._fetched):
            self.number += 1
        self._fetched = found
        self._refused = False
        left = found.expires - now
        self._due = found.expires - min(MARGIN, _MARGIN_RATIO * left) if left > 0 else now + 1.0
        if found.check_after is not None:
            self._due = min(self._due, now + found.check_after)

    def _check(self, future: Future[Exception | None]) -> None:
        exc = future.result()
        if exc is None:
            return
        text = redact(str(exc), self.secrets).partition("\n")[0]
        raise PermissionError(
            errno.EACCES, f"{self._failed(exc)}: check it\n{type(exc).__name__}: {text}"
        ) from exc

    def _failed(self, exc: Exception) -> str:
        return f"The credential provider {self.provider.name} failed with {type(exc).__name__}"

    def _late(self, seconds: float) -> TimeoutError:
        return TimeoutError(
            errno.ETIMEDOUT,
            f"The credential provider {self.provider.name} has returned nothing for {seconds:g} s: check it",
        )
