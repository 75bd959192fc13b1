"""Records of the calls to storage: traces, the log, OpenTelemetry and plots."""

from opendalfs.tracing.record import (
    Trace,
    add_bytes_wanted,
    add_cache_hit,
    enabled,
    finish,
    start,
    trace,
)
from opendalfs.tracing.request import Request

__all__ = ["Request", "Trace", "add_bytes_wanted", "add_cache_hit", "enabled", "finish", "start", "trace"]
