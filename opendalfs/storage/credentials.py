"""Credentials of a provider: fetched in a worker, renewed before they expire, one fetch at a time.

A request that can be repeated does not wait for credentials while it has valid ones: from `MARGIN` before
they expire, the next request starts a fetch and goes on with those it has. It waits if there are none, if
they have expired, and if the server has refused its own. What keeps its credentials, such as an upload in
parts, waits for a renewal that is due.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Final

from opendalfs.credential_providers import CredentialProvider, Fetched, fetch
from opendalfs.error_translation import kind_of, reason_of
from opendalfs.errors import redact
from opendalfs.options import secret_values
from opendalfs.runtime import workers
from opendalfs.runtime.tasks import run
from opendalfs.services import Service

__all__ = ["MARGIN", "LiveCredentials", "is_denial", "placeholder", "says_expired"]

MARGIN: Final = 300.0
"""Seconds before credentials expire in which they are renewed; a tenth of what is left, if that is less."""

_MARGIN_RATIO: Final = 0.1
_PAUSE: Final = 10.0
"""Seconds between attempts while a provider fails and its last credentials are still valid."""

_UNHELPFUL: Final = 60.0
"""Seconds without a renewal for denials of unknown reason, after new credentials were denied as well."""

_KEPT: Final = 4
"""Credentials whose values are removed from texts: calls may still fail with older ones."""

_MOST: Final = 4
"""Calls of a provider at a time, all but the last of which have returned nothing in time."""

# Codes of S3, Azure and Google, in a body or in the header of Azure.
_CODES: Final = (
    r"\w*Expired\w*|InvalidAuthenticationInfo|AuthenticationFailed|authError|UNAUTHENTICATED|"
    r"InvalidToken|TokenRefreshRequired"
)
_EXPIRED: Final = re.compile(rf'(?:"|<Code>)(?:{_CODES})[\\"<]')
_EXPIRED_HEADER: Final = re.compile(rf'"x-ms-error-code": "(?:{_CODES})"', re.I)
_UNAUTHORIZED: Final = re.compile(r"response: Parts \{ status: 401\b")
# A HEAD is denied without a body, and so without a code. OpenDAL copies on S3 with a HEAD, too.
_OF_HEAD: Final = re.compile(r"^\w+ \(\w+\) at stat\b|[{\n]\s*service_operation: HeadObject\b")
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
    return kind == "PermissionDenied" or (kind == "Unexpected" and says_expired(exc))


def says_expired(exc: BaseException) -> bool:
    """Whether the response in an error of OpenDAL is that of expired credentials."""
    text = str(exc)
    if _EXPIRED.search(reason_of(text)) or _EXPIRED_HEADER.search(text) or _UNAUTHORIZED.search(text):
        return True
    return bool(_HEAD.search(text) and _OF_HEAD.search(text) and not _CODE.search(text))


class _Fetch(Future[BaseException | None]):
    """A call of the provider; the result is its error, None after success.

    Parameters
    ----------
    refused : bool
        Whether the server had refused the last credentials when it began.

    Attributes
    ----------
    begun : float
        When it began, of the monotonic clock.
    """

    def __init__(self, refused: bool) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()
        self.begun = time.monotonic()
        self.refused = refused


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
        self._used: dict[int, set[str]] = {}
        self._fetches: list[_Fetch] = []
        self._begun = 0.0
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
        with self._lock:
            found = {value for values in self._used.values() for value in values}
        return tuple(sorted(found, key=len, reverse=True))

    def options(self, container: str) -> tuple[int, Mapping[str, str]]:
        """Return the number of the newest credentials, and the options for OpenDAL that hold them."""
        with self._lock:
            number, fetched = self.number, self._fetched
        if fetched is None:
            return number, placeholder(self.service)
        options = fetched.options(container)
        with self._lock:
            # Signatures of Azure differ by container.
            self._used.setdefault(number, set()).update(secret_values(options), fetched.secrets)
            while len(self._used) > _KEPT:
                del self._used[min(self._used)]
        return number, options

    def renew(self, seconds: float, wait: bool = False) -> None:
        """Renew the credentials if they are due; wait if none are valid.

        Parameters
        ----------
        seconds : float
            How long to wait.
        wait : bool
            Whether to wait for a renewal that is due, also while the old ones are valid. If it fails, they
            remain in use.

        Raises
        ------
        PermissionError
            If the provider fails, and no credentials are valid.
        TimeoutError
            If it takes longer, and no credentials are valid.
        """
        ends = time.monotonic() + seconds
        while (running := self._begin(seconds, wait)) is not None:
            left = max(0.0, ends - time.monotonic())
            try:
                workers.run(partial(running.result, left), left)
            except TimeoutError:
                if self._usable():
                    return
                raise self._late(seconds) from None
            if self._check(running):
                return

    async def renew_async(self, seconds: float, wait: bool = False) -> None:
        """Do what `renew` does."""
        ends = time.monotonic() + seconds
        while (running := self._begin(seconds, wait)) is not None:
            left = max(0.0, ends - time.monotonic())
            try:
                await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(running)), left)
            except TimeoutError:
                if self._usable():
                    return
                raise self._late(seconds) from None
            if self._check(running):
                return

    def refuse(self, exc: Exception, number: int, *, again: bool) -> bool:
        """Whether to repeat a request that was denied, because it may have used expired credentials.

        If so, and if there are no newer ones yet, it waits for them. Other requests do so only if the server
        says that the credentials have expired: the denial of one object does not concern the others.

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
        expired = says_expired(exc)
        with self._lock:
            if number < self.number:
                return True
            if again:
                if not expired:
                    self._unhelpful_until = now + _UNHELPFUL
                return False
            if not expired and (now < self._unhelpful_until or not _DENIED.search(str(exc))):
                return False
            self._refused, self._due = True, 0.0
            if expired and self._fetched is not None:
                self._fetched.expires = 0.0
            return True

    def _begin(self, seconds: float, wait: bool) -> _Fetch | None:
        """Start a fetch, unless one is running that may end in time; return the one to wait for, if any."""
        now = time.time()
        with self._lock:
            if now < self._due:
                return None
            newest = self._fetches[-1] if self._fetches else None
            # Whoever has begun it has waited a little less since then.
            hangs = newest is not None and time.monotonic() - newest.begun >= 0.9 * seconds
            starts = newest is None or (hangs and len(self._fetches) < _MOST)
            if newest is None or starts:
                newest = _Fetch(self._refused)
                self._fetches.append(newest)
            waits = wait or not self._valid(now)
        if starts:
            try:
                workers.start(partial(self._fetch, newest))
            except BaseException as exc:
                self._end(newest, None, exc)
                raise
        return newest if waits else None

    def _valid(self, now: float) -> bool:
        return self._fetched is not None and now < self._fetched.expires

    def _usable(self) -> bool:
        with self._lock:
            return self._valid(time.time())

    def _fetch(self, running: _Fetch) -> None:
        found: Fetched | None = None
        error: BaseException | None = None
        try:
            found = fetch(self.provider, self.service, self._native, run, refused=running.refused)
        except BaseException as exc:
            # Also SystemExit: callers wait for the end of the call.
            error = exc
        self._end(running, found, error)

    def _end(self, running: _Fetch, found: Fetched | None, error: BaseException | None) -> None:
        """Install what a fetch has returned, and wake its callers."""
        now = time.time()
        ended = [running]
        with self._lock:
            if running not in self._fetches:
                return
            self._fetches.remove(running)
            # Of two fetches the one that began later has the newer credentials.
            latest = running.begun >= self._begun
            if found is not None and latest:
                self._begun = running.begun
                self._install(found, running.refused, now)
                # Whoever waits for an earlier one, which may never end, goes on with these.
                ended += [other for other in self._fetches if other.begun < running.begun]
            harmless = latest and self._valid(now)
            if error is not None and harmless and self._fetched is not None:
                self._due = min(now + _PAUSE, self._fetched.expires)
        for each in ended:
            with suppress(InvalidStateError):
                each.set_result(error)
        if error is not None and harmless:
            _log.warning("%s: %s", self._failed(error), self._reason(error))

    def _install(self, found: Fetched, asked_again: bool, now: float) -> None:
        same = self._fetched is not None and found.same_as(self._fetched)
        if not same:
            self.number += 1
        if self._refused and same and not asked_again:
            return
        self._fetched = found
        self._refused = False
        left = found.expires - now
        self._due = found.expires - min(MARGIN, _MARGIN_RATIO * left) if left > 0 else now + 1.0
        if found.check_after is not None:
            self._due = min(self._due, now + found.check_after)

    def _check(self, ended: _Fetch) -> bool:
        """Whether a fetch has left nothing to wait for; raise its error if no credentials are valid."""
        error = ended.result()
        if error is None:
            # If it has not asked for new ones, it may have returned those that were refused meanwhile.
            return ended.refused or not self._refused
        if self._usable():
            return True
        # Without the exception itself: a traceback would show its text, such as a URL with a secret.
        raise PermissionError(
            errno.EACCES,
            f"{self._failed(error)}: check it\n{type(error).__name__}: {self._reason(error)}",
        ) from None

    def _failed(self, error: BaseException) -> str:
        return f"The credential provider {self.provider.name} failed with {type(error).__name__}"

    def _reason(self, error: BaseException) -> str:
        """Return the first line of an error, without secrets."""
        return redact(str(error), self.secrets).partition("\n")[0]

    def _late(self, seconds: float) -> TimeoutError:
        return TimeoutError(
            errno.ETIMEDOUT,
            f"The credential provider {self.provider.name} has returned nothing for {seconds:g} s: check it",
        )
