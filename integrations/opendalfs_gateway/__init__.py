"""An S3 server over any service of opendalfs, in a thread of this process.

`serve` serves one directory to any client of S3, which signs its requests with the keys of the server.

`Gateway` is for `opendalfs_polars`: Polars reads from and writes to its own object stores only, but accepts
an endpoint for S3. It listens on 127.0.0.1 and responds only to requests with the random access key of this
process. A bucket is a *mount*: one directory of a filesystem, read-only unless it was made for writing.

The logger ``opendalfs.gateway`` has the reasons of failures that clients cannot show.
"""

from __future__ import annotations

from opendalfs import installation

installation.require("aiohttp")

from .endpoint import S3Endpoint, serve
from .server import Gateway, gateway

__all__ = ["Gateway", "S3Endpoint", "gateway", "serve"]
