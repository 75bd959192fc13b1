"""Builds, layers and caches OpenDAL's operators: `connect` gives the `Connection` over one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final

import opendal
from opendal.layers import RetryLayer, TimeoutLayer

from opendalfs.containers import container_options
from opendalfs.errors import OptionError, redact
from opendalfs.options import Tuning, secret_values
from opendalfs.path_cache import PathCache
from opendalfs.runtime import process
from opendalfs.runtime.concurrency import ConcurrencyLimit
from opendalfs.services import Home, Service

from .connection import Connection

__all__ = ["connect"]

_ATTEMPTS: Final = 3
"""How many stalled attempts fit into one timeout: each gets this share of it."""

_MOST: Final = 512
_MOST_TIMES: Final = 1_000_000
"""Times of writes that are kept for a store in this process; some 200 MB. A key whose time was evicted shows
the start of the process."""

_Key = tuple[object, ...]
_lock = threading.RLock()
_connections: OrderedDict[_Key, Connection] = OrderedDict()
_bases: dict[_Key, opendal.AsyncOperator] = {}
_clocks: dict[_Key, PathCache[datetime]] = {}
_limits: OrderedDict[_Key, ConcurrencyLimit] = OrderedDict()


def connect(service: Service, native: Mapping[str, str], tuning: Tuning, container: str = "") -> Connection:
    """Give the connection for a service, container and options; the same one for the same.

    Parameters
    ----------
    service : Service
        The service.
    native : Mapping
        Options as `options.check` returns them.
    tuning : Tuning
        Retries, timeouts, limits.
    container : str
        The container; empty where the options alone say it.

    Returns
    -------
    Connection

    Raises
    ------
    OptionError
        When the options do not make a working operator.
    """
    process.check_fork()
    key = (*_key(service, native), tuning, container)
    with _lock:
        found = _connections.get(key)
        if found is None:
            found = _connections[key] = _connection(service, native, tuning, container)
            while len(_connections) > _MOST:
                _connections.popitem(last=False)
        _connections.move_to_end(key)
        return found


def _key(service: Service, native: Mapping[str, str]) -> _Key:
    return (service.scheme, *sorted(native.items()))


def _connection(service: Service, native: Mapping[str, str], tuning: Tuning, container: str) -> Connection:
    options = {**native, **container_options(service, container, native)}
    if service.home is Home.REMOTE:
        build = partial(_layered, service, options, tuning)
        return Connection(service, options, tuning, container, build, _limit_of(service, native, tuning))
    written = None
    if service.home is Home.PROCESS:
        written = _clocks.setdefault(_key(service, options), PathCache(most=_MOST_TIMES))
    return Connection(service, options, tuning, container, partial(_base, service, options), written=written)


def _base(service: Service, options: Mapping[str, str]) -> opendal.AsyncOperator:
    """Build an operator, or share the one there is.

    Stores that live in this process are their operator, so a second one would be empty, and embedded
    databases lock their file, so a second one would fail. None may be forgotten.
    """
    key = _key(service, options)
    if key not in _bases:
        _bases[key] = _build(service, options)
    return _bases[key]


def _build(service: Service, options: Mapping[str, str]) -> opendal.AsyncOperator:
    try:
        if service.scheme == "koofr":
            return _koofr(**options)
        return opendal.AsyncOperator(service.scheme, **options)
    except Exception as exc:
        text = redact(str(exc), secret_values(options))
        reason = text.partition("=> ")[2].partition("\n")[0] or text.partition("\n")[0]
        raise OptionError(
            f"the service {service.scheme} refuses its options: {reason.rstrip('.')}. "
            f"Its options are: {', '.join(sorted(service.options))}."
        ) from type(exc)(text)


def _koofr(endpoint: str = "", email: str = "", **options: str) -> opendal.AsyncOperator:
    """Build from a URL what the wheel cannot build from options: it looks for the email in the path."""
    host = endpoint.partition("://")[2] or endpoint
    return opendal.AsyncOperator.from_uri(f"koofr://{host}/{email}", **options)


def _limit_of(service: Service, native: Mapping[str, str], tuning: Tuning) -> ConcurrencyLimit:
    """Give the limit on requests in flight that all containers of a filesystem share."""
    key = (*_key(service, native), tuning)
    if key not in _limits:
        _limits[key] = ConcurrencyLimit(tuning.concurrency)
        while len(_limits) > _MOST:
            _limits.popitem(last=False)
    return _limits[key]


def _layered(service: Service, options: Mapping[str, str], tuning: Tuning) -> opendal.AsyncOperator:
    """Build an operator that retries, each attempt within a share of the timeout.

    Without the inner timeout a stalled connection would never be retried. `call.Call` bounds the whole call:
    a second TimeoutLayer above the retries would take the place of the inner one for the parts of an upload,
    so that a stalled part failed instead of being retried. Local storage gets no layers: a retry there only
    delays the error (OpenDAL takes "not a directory" for a passing failure). Services that keep a pool of
    connections get no timeout, as it drops requests (`Service.cancels`).
    """
    operator = _build(service, options)
    if service.cancels:
        operator = operator.layer(TimeoutLayer(tuning.timeout / _ATTEMPTS, tuning.io_timeout / _ATTEMPTS))
    return operator.layer(
        RetryLayer(
            max_times=tuning.retries,
            min_delay=tuning.retry_min_delay,
            max_delay=tuning.retry_max_delay,
            jitter=True,
        )
    )
