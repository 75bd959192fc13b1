"""OpenDAL's operator in both transports, with what calls need to know about it."""

from __future__ import annotations

from collections.abc import Mapping

import opendal

from opendalfs import urls
from opendalfs.credential_report import report
from opendalfs.error_translation import redact_causes, translate_error
from opendalfs.errors import UnsupportedError, redact_endpoint
from opendalfs.options import Tuning, secret_values
from opendalfs.runtime.concurrency import ConcurrencyLimit
from opendalfs.services import Service

from .credentials import LiveCredentials
from .endpoint import Endpoint
from .operator_generations import Build, Generation, OperatorGenerations
from .retry import retry_layer
from .write_times import WriteTimes

__all__ = ["OperatorPair"]


class OperatorPair:
    """A blocking and an asynchronous operator for one service, container and set of options.

    It makes no calls: `connection.Connection` adds those. Keys are relative to the operator's root; a key
    that ends in ``/`` names a directory.

    Parameters
    ----------
    service : Service
        The service.
    native : Mapping
        Its options as `options.check` returns them, the container's included.
    tuning : Tuning
        Retries, timeouts, limits.
    container : str
        Name of the container, for messages and traces.
    build : callable
        Makes OpenDAL's operator, without retries.
    limit : ConcurrencyLimit, optional
        Limits calls in flight; None for local disks and stores in this process, which are called in the
        caller's thread and without a timeout.
    write_times : WriteTimes, optional
        The times of writes, for a store that keeps none itself.
    endpoint : Endpoint, optional
        The server, shared with other filesystems; None for local services.
    credentials : LiveCredentials, optional
        Of a credential provider, shared with other containers.
    """

    def __init__(
        self,
        service: Service,
        native: Mapping[str, str],
        tuning: Tuning,
        container: str,
        build: Build,
        limit: ConcurrencyLimit | None = None,
        write_times: WriteTimes | None = None,
        endpoint: Endpoint | None = None,
        credentials: LiveCredentials | None = None,
    ) -> None:
        self.service = service
        self.native = dict(native)
        self.tuning = tuning
        self.container = container
        self.limit = limit
        self.endpoint = endpoint
        self.write_times = write_times or WriteTimes()
        # No method of its own: a listing calls it for each file.
        self.modified = self.write_times.modified
        """Returns the time when a key was last written; None if the service does not show it."""

        self.etags_are_md5 = True
        """Until `verification` finds that they are not."""

        layer = None if limit is None else retry_layer(tuning)
        name = self.native.get(service.container or "", "")
        self._generations = OperatorGenerations(build, layer, credentials, name, self.native.get("region"))
        self.capability = self._generations.newest().async_operator.capability()

    def generation(self) -> Generation:
        """Return the operators to use for the next request."""
        return self._generations.newest()

    @property
    def async_operator(self) -> opendal.AsyncOperator:
        """The asynchronous operator, without retries."""
        return self._generations.newest().async_operator

    @property
    def operator(self) -> opendal.Operator:
        """The blocking operator, without retries."""
        return self._generations.newest().operator

    @property
    def stateful_operator(self) -> opendal.AsyncOperator:
        """The asynchronous operator for what has a state in OpenDAL, where OpenDAL itself must retry."""
        return self._generations.newest().stateful_operator

    @property
    def credentials(self) -> LiveCredentials | None:
        """Those of a credential provider; None if the options hold all that is needed."""
        return self._generations.credentials

    @property
    def assumes_region(self) -> bool:
        """Whether the bucket may be in another region, which a first request will show."""
        return self._generations.assumes_region and "endpoint" not in self.native

    def keep_region(self) -> None:
        """Assume no longer that the bucket may be in another region."""
        self._generations.assumes_region = False

    def follow_region(self, exc: Exception, used: Generation) -> bool:
        """Whether a request failed as its bucket is in another region; further requests go there."""
        return self._generations.follow_region(str(exc), used)

    @property
    def authorized(self) -> bool:
        """Whether there are credentials for the next request, none of which is due for renewal."""
        credentials = self._generations.credentials
        return credentials is None or credentials.fresh

    def authorize(self, wait: bool = False) -> None:
        """Get credentials from the provider, if there is one and none are valid.

        Parameters
        ----------
        wait : bool
            As for `LiveCredentials.renew`.

        Raises
        ------
        PermissionError
            If the provider fails.
        TimeoutError
            If it takes longer than `timeout`.
        """
        credentials = self._generations.credentials
        if credentials is not None and not credentials.fresh:
            credentials.renew(self.tuning.timeout, wait)

    async def authorize_async(self, wait: bool = False) -> None:
        """Do what `authorize` does."""
        credentials = self._generations.credentials
        if credentials is not None and not credentials.fresh:
            await credentials.renew_async(self.tuning.timeout, wait)

    def credential_options(self) -> Mapping[str, str]:
        """Return the newest credentials of the provider, as options; none without a provider."""
        credentials = self._generations.credentials
        return (
            {}
            if credentials is None
            else credentials.options(self.native.get(self.service.container or "", ""))[1]
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no text may contain."""
        credentials = self._generations.credentials
        return secret_values(self.native) + (credentials.secrets if credentials is not None else ())

    def replace_pool(self) -> None:
        """Replace the connection pool of a service that keeps one, after a request that did not end.

        The request keeps its connection, and the pool, which holds a few at most, would soon be empty.
        """
        if not self.service.cancels:
            self._generations.replace_pool()

    @property
    def where(self) -> str:
        """Service, container and endpoint, for messages; without secrets."""
        container = f" {self.container!r}" if self.container else ""
        endpoint = self.native.get("endpoint") or self.native.get("name_node")
        at = f" at {redact_endpoint(endpoint)}" if endpoint else ""
        return f"{self.service.scheme}{container}{at}"

    @property
    def no_key(self) -> str:
        """The error message for a path that names the root and not a file in it."""
        name = self.service.container if self.container else None
        return (
            f"Is a {name}, without a key: write '{name}/key'"
            if name
            else "Is a directory: add the name of a file to the path"
        )

    def name(self, key: str) -> str:
        """Return the path of a key, as the filesystem shows it."""
        return urls.join(self.service, self.container, key)

    def key(self, name: str) -> str:
        """Return the key of a path: the inverse of `name`."""
        return urls.split(self.service, name)[1] if self.container else name

    def explain(self, exc: BaseException, operation: str, key: str, pinned: bool = False) -> OSError | None:
        """Translate an error of OpenDAL into an OSError; None for any other exception."""
        secrets = self.secrets
        redact_causes(exc, secrets)
        return translate_error(
            exc,
            operation,
            self.name(key.strip("/")),
            where=self.where,
            secrets=secrets,
            pinned=pinned,
            region=self._generations.region,
            silent=self.service.silent,
            provider=self.credentials is not None,
            report=self._credential_report,
        )

    def _credential_report(self) -> str | None:
        credentials = self.credentials
        return report(self.service, self.native, None if credentials is None else credentials.provider.name)

    def require(self, capability: str, operation: str) -> None:
        """Raise when the service cannot do something.

        Parameters
        ----------
        capability : str
            Name of OpenDAL's flag.
        operation : str
            The operation, for the message.

        Raises
        ------
        UnsupportedError
        """
        if not getattr(self.capability, capability):
            raise UnsupportedError(f"the service {self.service.scheme} cannot {operation}")

    def can(self, capability: str) -> bool:
        """Whether the service has a capability, by the name of OpenDAL's flag."""
        return bool(getattr(self.capability, capability))
