"""OpenDAL's operator in both transports, with what calls need to know about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import opendal

from opendalfs import urls
from opendalfs.error_translation import translate_error
from opendalfs.errors import UnsupportedError, redact
from opendalfs.options import Tuning, secret_values
from opendalfs.runtime.concurrency import ConcurrencyLimit
from opendalfs.services import Service

from .endpoint import Endpoint
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
    """

    def __init__(
        self,
        service: Service,
        native: Mapping[str, str],
        tuning: Tuning,
        container: str,
        build: Callable[[], opendal.AsyncOperator],
        limit: ConcurrencyLimit | None = None,
        write_times: WriteTimes | None = None,
        endpoint: Endpoint | None = None,
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
        """Returns the time when a key was last written; None if the service tells none."""

        self.etags_are_md5 = True
        """Until `verification` finds that they are not."""

        self._build = build
        self.async_operator = build()
        self.capability = self.async_operator.capability()

    @cached_property
    def operator(self) -> opendal.Operator:
        """The blocking operator; made within the first call, as it starts the threads that a fork loses."""
        return self.async_operator.to_operator()

    @cached_property
    def stateful_operator(self) -> opendal.AsyncOperator:
        """The asynchronous operator for what has a state in OpenDAL, where OpenDAL itself must retry."""
        if self.limit is None:
            return self.async_operator
        return self.async_operator.layer(retry_layer(self.tuning))

    def renew(self) -> None:
        """Replace the connection pool of a service that keeps one, after a request that did not end.

        The request keeps its connection, and the pool, which holds a few at most, would soon be empty.
        """
        if not self.service.cancels:
            self.async_operator = self._build()
            self.__dict__.pop("operator", None)
            self.__dict__.pop("stateful_operator", None)

    @property
    def where(self) -> str:
        """Service, container and endpoint, for messages; without secrets."""
        container = f" {self.container!r}" if self.container else ""
        endpoint = self.native.get("endpoint") or self.native.get("name_node")
        at = f" at {redact(endpoint)}" if endpoint else ""
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
        return translate_error(
            exc,
            operation,
            self.name(key.strip("/")),
            where=self.where,
            secrets=secret_values(self.native),
            pinned=pinned,
            region=self.native.get("region"),
            silent=self.service.silent,
        )

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
