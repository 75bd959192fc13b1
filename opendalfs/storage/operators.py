"""OpenDAL's operators: built, layered, and cached in their `Connection`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import opendal
from opendal.layers import TimeoutLayer

from opendalfs.containers import container_options
from opendalfs.credential_providers import CredentialProvider
from opendalfs.errors import OptionError, redact
from opendalfs.options import Tuning, secret_values
from opendalfs.runtime import process
from opendalfs.runtime.concurrency import ConcurrencyLimit
from opendalfs.services import Locality, Service
from opendalfs.urls import check_key

from . import local_disk
from .connection import Connection
from .credentials import LiveCredentials
from .endpoint import endpoint_of
from .retry import ATTEMPTS
from .write_times import WriteTimes

__all__ = ["connect", "follow_link", "with_options"]

_MAX_CONNECTIONS: Final = 512
_IDENTITY: Final = ("account_name", "endpoint", "scope")
"""Options that decide on the credentials of a provider."""

_UNDIVIDED: Final = 1 << 40
"""Bytes of a read at most if the service transfers the whole value for any range: parts would repeat it."""

_Key = tuple[object, ...]
_lock = threading.RLock()
_connections: OrderedDict[_Key, Connection] = OrderedDict()
_shared_operators: dict[_Key, opendal.AsyncOperator] = {}
_write_times: dict[_Key, WriteTimes] = {}
_limits: OrderedDict[_Key, ConcurrencyLimit] = OrderedDict()
_credentials: OrderedDict[_Key, LiveCredentials] = OrderedDict()


def connect(
    service: Service,
    native: Mapping[str, str],
    tuning: Tuning,
    container: str = "",
    provider: CredentialProvider | None = None,
) -> Connection:
    """Return the connection for a service, container and options; equal arguments return the same one.

    Parameters
    ----------
    service : Service
        The service.
    native : Mapping
        Options as `options.check` returns them.
    tuning : Tuning
        Retries, timeouts, limits.
    container : str
        The container; empty if the options name it.
    provider : CredentialProvider, optional
        Where credentials come from that are not among the options.

    Returns
    -------
    Connection

    Raises
    ------
    OptionError
        When OpenDAL refuses the options.
    """
    process.check_fork()
    if service.whole_values:
        tuning = replace(tuning, read_chunk=_UNDIVIDED, max_gap=_UNDIVIDED)
    key = (*_key(service, native), type(native.get("region")), tuning, container, provider)
    with _lock:
        found = _connections.get(key)
        if found is None:
            found = _connections[key] = _connection(service, native, tuning, container, provider)
            while len(_connections) > _MAX_CONNECTIONS:
                _connections.popitem(last=False)
        _connections.move_to_end(key)
        return found


def follow_link(connection: Connection, key: str) -> tuple[Connection, str]:
    """Return the connection and key that a write to a key replaces: for a link, those of its target.

    Parameters
    ----------
    connection : Connection
        To a local disk.
    key : str
        Key of a file, which need not exist.

    Returns
    -------
    Connection
        Another one for a link, as the link may lead out of the root.
    str

    Raises
    ------
    OSError
        As `local_disk.link_target`.
    """
    target = local_disk.link_target(connection, key)
    if target is None:
        return connection, key
    options = {name: value for name, value in connection.native.items() if name != "root"}
    disk = connect(connection.service, options, connection.tuning, "/")
    return disk, check_key(target.lstrip("/"), target)


def with_options(
    connection: Connection, options: Mapping[str, str], *, verify_writes: bool = False
) -> Connection:
    """Return a connection to the same container whose operator has further options.

    OpenDAL takes some options of a write, such as the storage class, only from its operator. Calls of both
    connections count towards one limit of requests in flight.

    Parameters
    ----------
    connection : Connection
        The connection of the filesystem.
    options : Mapping
        The options, in OpenDAL's names; they replace those of the filesystem.
    verify_writes : bool
        Whether it verifies what it has written, also where the filesystem does not.

    Returns
    -------
    Connection

    Raises
    ------
    OptionError
        When OpenDAL refuses the options.
    """
    service, tuning, container = connection.service, connection.tuning, connection.container
    if verify_writes:
        tuning = replace(tuning, verify_writes=True)
    native = {**connection.native, **options}
    if connection.limit is not None:
        with _lock:
            _limit_of(service, native, tuning, connection.limit)
    credentials = connection.credentials
    provider = None if credentials is None else credentials.provider
    return connect(service, native, tuning, container, provider)


def _key(service: Service, native: Mapping[str, str]) -> _Key:
    return (service.scheme, *sorted(native.items()))


def _connection(
    service: Service,
    native: Mapping[str, str],
    tuning: Tuning,
    container: str,
    provider: CredentialProvider | None,
) -> Connection:
    options = {**native, **container_options(service, container, native)}
    if service.locality is Locality.REMOTE:
        build = partial(_layered, service, options, tuning)
        limit, endpoint = _limit_of(service, native, tuning), endpoint_of(service, options)
        if endpoint is not None:
            endpoint.add_limit(limit)
        credentials = None if provider is None else _credentials_of(service, options, provider)
        return Connection(
            service, options, tuning, container, build, limit, endpoint=endpoint, credentials=credentials
        )
    build = partial(_shared, service, options)
    write_times = None
    if service.locality is Locality.PROCESS:
        write_times = _write_times.setdefault(_key(service, options), WriteTimes(keep=True))
    return Connection(service, options, tuning, container, build, write_times=write_times)


def _credentials_of(
    service: Service, options: Mapping[str, str], provider: CredentialProvider
) -> LiveCredentials:
    """Return the credentials of a provider, which all containers of an account share."""
    identity = {name: options[name] for name in _IDENTITY if name in options}
    key = (*_key(service, identity), provider)
    if key not in _credentials:
        _credentials[key] = LiveCredentials(service, identity, provider)
        while len(_credentials) > _MAX_CONNECTIONS:
            _credentials.popitem(last=False)
    return _credentials[key]


def _shared(
    service: Service, options: Mapping[str, str], credentials: Mapping[str, str]
) -> opendal.AsyncOperator:
    """Return the operator of a local service: one for each set of options, kept forever.

    The content of a store in this process belongs to its operator, so a second one would be empty. Embedded
    databases lock their file, so a second one would fail.
    """
    key = _key(service, options)
    if key not in _shared_operators:
        _shared_operators[key] = _build(service, options)
    return _shared_operators[key]


def _build(service: Service, options: Mapping[str, str]) -> opendal.AsyncOperator:
    try:
        if service.scheme == "koofr":
            return _koofr(**options)
        return opendal.AsyncOperator(service.scheme, **options)
    except Exception as exc:
        text = redact(str(exc), secret_values(options))
        reason = text.partition("=> ")[2].partition("\n")[0] or text.partition("\n")[0]
        raise OptionError(
            f"the service {service.scheme} rejects its options: {reason.rstrip('.')}. "
            f"Its options are: {', '.join(sorted(service.options))}."
        ) from type(exc)(text)


def _koofr(endpoint: str = "", email: str = "", **options: str) -> opendal.AsyncOperator:
    """Build the operator of koofr from a URL: the wheel reads the email from its path only."""
    host = endpoint.partition("://")[2] or endpoint
    return opendal.AsyncOperator.from_uri(f"koofr://{host}/{email}", **options)


def _limit_of(
    service: Service, native: Mapping[str, str], tuning: Tuning, shared: ConcurrencyLimit | None = None
) -> ConcurrencyLimit:
    """Return the limit on calls in flight that all containers of a filesystem share.

    `shared`: the limit to keep if there is none.
    """
    key = (*_key(service, native), tuning)
    if key not in _limits:
        _limits[key] = shared or ConcurrencyLimit(tuning.concurrency)
        while len(_limits) > _MAX_CONNECTIONS:
            _limits.popitem(last=False)
    return _limits[key]


def _layered(
    service: Service, options: Mapping[str, str], tuning: Tuning, credentials: Mapping[str, str]
) -> opendal.AsyncOperator:
    """Build an operator for a remote service, each attempt within a share of the timeout.

    Without this timeout a stalled connection would never be retried. `call.Call` bounds the whole call: a
    second TimeoutLayer above retries of OpenDAL would replace this one for the parts of an upload, so that a
    stalled part failed instead of being retried. Local storage gets no layers: a retry there only delays the
    error (OpenDAL treats "not a directory" as temporary). Services that keep a connection pool get no
    timeout, as it drops requests (`Service.cancels`).
    """
    operator = _build(service, {**options, **credentials})
    if service.cancels:
        operator = operator.layer(TimeoutLayer(tuning.timeout / ATTEMPTS, tuning.io_timeout / ATTEMPTS))
    return operator
