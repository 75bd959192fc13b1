"""What was asked of storage: records, OpenTelemetry and plots."""

from opendalfs.tracing.record import Request, Trace, finish, start, trace, wanted, watched

__all__ = ["Request", "Trace", "finish", "start", "trace", "wanted", "watched"]
