"""Polars over every service that OpenDAL speaks, with all that Polars pushes down.

Two ways, which mean the same::

    import opendalfs_polars as op
    op.scan_parquet("opendal+webdav://host/lake/*.parquet", storage_options={"username": "me", ...})

    opendalfs.polars()      # opt in: Polars' own functions take such URLs now
    pl.scan_parquet("opendal+webdav://host/lake/*.parquet", storage_options={"username": "me", ...})

Behind both is `target`: it has Polars' own store do the work where the options mean the same there, and
else a gateway: a small S3 server on the loopback over opendalfs, in this process, whose key only this process
has. A plan that goes through the gateway works in this process only; it cannot be sent to another.

A sink whose query fails publishes nothing, but with ``lazy=True``: nothing tells then that it has failed, and
Polars may complete what was written so far.

Without the hooks Polars takes ``opendal+s3://...`` for a local path, and opendalfs is not called. A read
then raises "No such file or directory (os error 2)", or "expanded paths were empty" for a glob: call
``opendalfs.polars()`` first. A sink with ``mkdir=True``, a PartitionBy or ``partition_by=`` writes to a local
folder of that name. The functions of this package never do.

Ctrl-C ends a query that waits for storage through the gateway. Through Polars' own store Polars itself
decides, and may wait for its own timeouts. The gateway's bound is ``io_timeout`` when SIGINT has a handler
other than Python's own, when the query was made in another thread than the main one, and when trio or an
event loop with handlers of signals uses `signal.set_wakeup_fd`.

The option ``retries`` says how often a request is retried, also through the gateway. Polars' errors cannot
show why a CSV or NDJSON file failed ("424 Failed Dependency"); the log ``opendalfs.gateway`` has the reason.
"""

from __future__ import annotations

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
