"""Calls to storage for the standard log and for OpenTelemetry: a line, a span, for each.

The log is ``logging.getLogger("opendalfs")``, level DEBUG. Spans are made where the program has set a tracer
provider of OpenTelemetry, and hang below the span that is current where the call is made. Neither ever holds
more of an error than the name of its class, as the words of one may quote what the user has given.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .record import Request

__all__ = ["tell", "wanted"]

_log: Final = logging.getLogger("opendalfs")
_tracers: dict[int, tuple[Any, Any]] = {}
"""The last tracer provider and our tracer of it, by the provider's id: making one is not free."""


def wanted() -> bool:
    """Tell whether the log or OpenTelemetry take anything now."""
    return _log.isEnabledFor(logging.DEBUG) or _tracer() is not None


def tell(request: Request) -> None:
    """Tell of a call that has ended."""
    if _log.isEnabledFor(logging.DEBUG):
        _write(request)
    tracer = _tracer()
    if tracer is not None:
        _span(tracer, request)


def _tracer() -> Any:
    # A program that has set a provider has imported this module; nobody else shall pay for the import.
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None or not hasattr(api, "get_tracer_provider"):
        return None
    provider = api.get_tracer_provider()
    if isinstance(provider, (api.ProxyTracerProvider, api.NoOpTracerProvider)):
        return None
    known, tracer = _tracers.get(id(provider), (None, None))
    if known is not provider:
        tracer = provider.get_tracer("opendalfs")
        _tracers.clear()
        _tracers[id(provider)] = provider, tracer
    return tracer


def _write(request: Request) -> None:
    place = f"{request.container}/{request.key}" if request.container else request.key
    milliseconds = (request.end - request.start) * 1000
    _log.debug(
        # A key may hold anything, line breaks too.
        "%s %s %r: %d bytes from %d on in %.1f ms%s",
        request.operation,
        request.service,
        place,
        request.bytes,
        request.offset,
        milliseconds,
        f", {request.error}" if request.error else "",
    )


def _span(tracer: Any, request: Request) -> None:
    """Make the span of a call that is over: nothing within the call could have hung below it."""
    from opentelemetry.trace import SpanKind, Status, StatusCode

    end = time.time_ns()
    attributes: dict[str, str | int] = {
        "opendalfs.operation": request.operation,
        "opendalfs.service": request.service,
        "opendalfs.container": request.container,
        "opendalfs.key": request.key,
        "opendalfs.offset": request.offset,
        "opendalfs.bytes": request.bytes,
        "opendalfs.requests": request.requests,
    }
    if request.size is not None:
        attributes["opendalfs.size"] = request.size
    if request.error:
        attributes["error.type"] = request.error
    span = tracer.start_span(
        f"opendalfs {request.operation}",
        kind=SpanKind.CLIENT,
        attributes=attributes,
        start_time=end - int((request.end - request.start) * 1e9),
    )
    if request.error:
        span.set_status(Status(StatusCode.ERROR))
    span.end(end_time=end)
