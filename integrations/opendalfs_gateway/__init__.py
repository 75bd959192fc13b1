"""An S3 server on the loopback interface, over any service of opendalfs, in a thread of this process.

`opendalfs_polars` uses it: Polars reads from and writes to its own object stores only, but accepts an
endpoint for S3. Other S3 clients in this process can use it too, with `Gateway.storage_options`.

The server listens on 127.0.0.1 and responds only to requests with the random access key of this process. A
bucket is a *mount*: one directory of a filesystem, read-only unless it was made for writing. It serves object
content, ListObjectsV2, PutObject and multipart uploads.

The logger ``opendalfs.gateway`` has the reasons of failures that clients cannot show.
"""

from __future__ import annotations

from .server import Gateway, gateway

__all__ = ["Gateway", "gateway"]
