"""Polars over every service that OpenDAL supports, with everything that Polars pushes down.

There are two ways, which do the same::

    import opendalfs_polars as op
    op.scan_parquet("opendal+webdav://host/lake/*.parquet", storage_options={"username": "me", ...})

    opendalfs.polars()      # Polars' own functions accept such URLs from now on
    pl.scan_parquet("opendal+webdav://host/lake/*.parquet", storage_options={"username": "me", ...})

Both use `target`: it lets Polars' own store do the work if the options mean the same there, and otherwise the
gateway (`opendalfs_gateway`), a small S3 server on the loopback interface in this process. A plan that uses
the gateway works in this process only; it cannot be sent to another one.

A sink whose query fails publishes nothing, except with ``lazy=True``: its failure cannot be detected, and
Polars may complete what was written so far.

Without the hooks Polars takes ``opendal+s3://...`` for a local path, and opendalfs is not called. A read then
raises "No such file or directory (os error 2)", or "expanded paths were empty" for a glob: call
``opendalfs.polars()`` first. A sink with ``mkdir=True``, a PartitionBy or ``partition_by=`` writes to a local
folder of that name. The functions of this package never do.

Ctrl-C ends a query that waits for storage through the gateway. With its own store Polars itself decides, and
may wait for its own timeouts. Through the gateway ``io_timeout`` is the limit if SIGINT has a handler other
than Python's own, if the query runs in another thread than the main one, and if trio or an event loop with
signal handlers uses `signal.set_wakeup_fd`.

The option ``retries`` is the number of retries of a request, also through the gateway. Polars' errors cannot
show why a CSV or NDJSON file failed ("424 Failed Dependency"); the logger ``opendalfs.gateway`` has the
reason.
"""

from __future__ import annotations

from opendalfs import installation

installation.require("polars")

from .functions import (
    read_csv,
    read_ipc,
    read_ndjson,
    read_parquet,
    scan_csv,
    scan_ipc,
    scan_ndjson,
    scan_parquet,
    sink_csv,
    sink_ipc,
    sink_ndjson,
    sink_parquet,
    write_csv,
    write_ipc,
    write_ndjson,
    write_parquet,
)
from .hooks import Hooks, polars
from .native_options import NativeBackendError
from .target import Target, target

__all__ = [
    "Hooks",
    "NativeBackendError",
    "Target",
    "polars",
    "read_csv",
    "read_ipc",
    "read_ndjson",
    "read_parquet",
    "scan_csv",
    "scan_ipc",
    "scan_ndjson",
    "scan_parquet",
    "sink_csv",
    "sink_ipc",
    "sink_ndjson",
    "sink_parquet",
    "target",
    "write_csv",
    "write_ipc",
    "write_ndjson",
    "write_parquet",
]
