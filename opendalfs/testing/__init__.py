"""Local storage servers and proxies for tests, benchmarks and examples: extra ``opendalfs[testing]``.

- `s3_server`, `gcs_server`, `webdav_server`, `ftp_server`: a real server in a process of its own, with
  its data in a temporary directory. `server.options` are the options of `opendalfs.filesystem`.
- `DelayProxy`: latency and bandwidth of a distant server, and the requests and bytes that passed.
- `FaultProxy`: faults of chosen S3 requests (`Fault`, `FAULTS`): errors, resets, stalls, wrong responses.
- `RefusingProxy`: refuses or cuts chosen requests to a real server.
- `ScriptedServer`: an HTTP server whose responses a function makes; it records every request.
- `tpch_tables`: the tables of TPC-H as Parquet files.

Examples
--------
::

    import opendalfs
    from opendalfs.testing import s3_server

    with s3_server() as server:
        fs = opendalfs.filesystem("s3", **server.options)
        fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
"""

from __future__ import annotations

from opendalfs.testing.azure import Azurite
from opendalfs.testing.data import tpch_tables
from opendalfs.testing.databases import MariaDB, Memcached, PostgreSQL, Redis
from opendalfs.testing.delay_proxy import Counters, DelayProxy
from opendalfs.testing.fault_proxy import FaultProxy
from opendalfs.testing.faults import FAULTS, KINDS, Fault, FaultType
from opendalfs.testing.ftp import FtpServer, Pyftpdlib, Vsftpd, ftp_server
from opendalfs.testing.gcs import GcsEmulator, gcs_server
from opendalfs.testing.refusing_proxy import RefusingProxy
from opendalfs.testing.s3 import ExternalS3, Moto, S3Server, SeaweedFS, s3_server
from opendalfs.testing.scripted_server import (
    Request,
    Response,
    ScriptedServer,
    drip,
    endless,
    object_headers,
)
from opendalfs.testing.server import Server, ServerError, ServerUnavailable
from opendalfs.testing.webdav import Apache, Nginx, Rclone, WebdavServer, WsgiDav, webdav_server

__all__ = [
    "FAULTS",
    "KINDS",
    "Apache",
    "Azurite",
    "Counters",
    "DelayProxy",
    "ExternalS3",
    "Fault",
    "FaultProxy",
    "FaultType",
    "FtpServer",
    "GcsEmulator",
    "MariaDB",
    "Memcached",
    "Moto",
    "Nginx",
    "PostgreSQL",
    "Pyftpdlib",
    "Rclone",
    "Redis",
    "RefusingProxy",
    "Request",
    "Response",
    "S3Server",
    "ScriptedServer",
    "SeaweedFS",
    "Server",
    "ServerError",
    "ServerUnavailable",
    "Vsftpd",
    "WebdavServer",
    "WsgiDav",
    "drip",
    "endless",
    "ftp_server",
    "gcs_server",
    "object_headers",
    "s3_server",
    "tpch_tables",
    "webdav_server",
]
