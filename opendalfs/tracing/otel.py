"""The log line and the OpenTelemetry span of each call to storage.

The logger is ``logging.getLogger("opendalfs")``, level DEBUG. Spans are made if the program has set a tracer
provider of OpenTelemetry; their parent is the span that is current where the call is made. Of an error, both
hold only the name of its class: its text may quote what the user has passed.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final

from .request import Request

__all__ = ["emit", "enabled"]

_log: Final = logging.getLogger("opendalfs")
_tracers: dict[int, tuple[Any, Any]] = {}
"""The last tracer provider and its tracer for this package, by the provider's id: making one is slow."""


def enabled() -> bool:
    """Whether the log or OpenTelemetry takes records now."""
    return _log.isEnabledFor(logging.DEBUG) or _tracer() is not None


def emit(request: Request) -> None:
    """Write the log line and make the span of a call that has ended."""
    if _log.isEnabledFor(logging.DEBUG):
        _write_log_line(request)
    tracer = _tracer()
    if tracer is not None:
        _make_span(tracer, request)


def _tracer() -> Any:
    # A program that has set a provider has imported this module; others must not pay for the import.
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None or not hasattr(api, "get_tracer_provider"):
        return None
    provider = api.get_tracer_provider()
    if isinstance(provider, (api.ProxyTracerProvider, api.NoOpTracerProvider)):
        return None
    cached, tracer = _tracers.get(id(provider), (None, None))
    if cached is not provider:
        tracer = provider.get_tracer("opendalfs")
        _tracers.clear()
        _tracers[id(provider)] = provider, tracer
    return tracer


def _write_log_line(request: Request) -> None:
    _log.debug(
        # %r, as a key may hold line breaks.
        "%s %s %r: %d bytes from offset %d in %.1f ms%s",
        request.operation,
        request.service,
        request.path,
        request.bytes,
        request.offset,
        (request.end - request.start) * 1000,
        (f", retried after {' '.join(request.retried)}" if request.retried else "")
        + (f", {request.error}" if request.error else ""),
    )


def _make_span(tracer: Any, request: Request) -> None:
    """Make the span after the call has ended: a call has no child spans."""
    from opentelemetry.trace import SpanKind, Status, StatusCode

    end = time.time_ns()
    attributes: dict[str, str | int | float] = {
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
    if request.retried:
        attributes["opendalfs.retried"] = " ".join(request.retried)
    if request.waited:
        attributes["opendalfs.waited"] = request.waited
    if request.slots:
        attributes["opendalfs.slots"] = request.slots
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
