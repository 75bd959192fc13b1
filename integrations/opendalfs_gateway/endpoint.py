"""`serve`: a directory of any service as a bucket of S3, for programs that read and write S3 only."""

from __future__ import annotations

import ipaddress
import re
from types import TracebackType
from typing import Any, Final, Self

from opendalfs.errors import OptionError
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.registry import url_to_fs
from opendalfs.runtime import process
from opendalfs.services import Locality
from opendalfs.storage.operators import with_options

from . import dialects
from .bucket_handlers import MAX_IN_MEMORY, REGION, BucketHandlers, new_keys
from .commits import Commits
from .directory import Directory
from .http_server import HttpServer
from .uploads import Uploads
from .writer_threads import WriterThreads

__all__ = ["S3Endpoint", "serve"]

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.A)
_UPLOAD_EXPIRY: Final = 24 * 3600.0
"""Seconds after which an idle multipart upload is aborted."""

_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")

_running: Final[set[S3Endpoint]] = set()
"""The servers of this process, whose sockets a forked child must close."""


class S3Endpoint:
    """A running server of S3, which `serve` returns. A ``with`` block stops it at its end.

    Parameters
    ----------
    directory : Directory
        What it serves.
    bucket : str
        Name of the bucket.
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 for any free one.

    Attributes
    ----------
    endpoint : str
        URL of the server, such as ``"http://127.0.0.1:40123"``.
    bucket : str
        Name of the bucket.
    access_key, secret_key : str
        The keys that requests must be signed with, as Signature Version 4 of AWS. They are random, and in no
        repr, log or error.

    Examples
    --------
    >>> import opendalfs
    >>> with opendalfs.serve("opendal+memory://lake", bucket="shared") as server:
    ...     server.url
    's3://shared/'
    """

    def __init__(self, directory: Directory, bucket: str, host: str, port: int) -> None:
        keys = new_keys()
        self.bucket = bucket
        self.access_key, self.secret_key = keys.access, keys.secret
        self._directory = directory
        threads = WriterThreads()
        commits = Commits(threads)
        uploads = Uploads(_UPLOAD_EXPIRY, threads, commits, most_in_memory=MAX_IN_MEMORY)
        handlers = BucketHandlers(keys, bucket, directory, uploads, commits)
        self._server = HttpServer("opendalfs-serve", handlers, uploads, host=host, port=port)
        self.endpoint = self._server.endpoint
        handlers.hosts = _hosts(self.endpoint, host)
        _running.add(self)

    def __repr__(self) -> str:
        mode = "writable" if self._directory.writable else "read-only"
        return f"S3Endpoint({self.endpoint!r}, bucket={self.bucket!r}, {mode}, serves {self._directory!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """URL of the bucket, with a slash at its end."""
        return f"s3://{self.bucket}/"

    @property
    def _access(self) -> dialects.Access:
        return dialects.Access(self.endpoint, self.bucket, REGION, self.access_key, self.secret_key)

    def storage_options(self, dialect: str = "object_store") -> dict[str, Any]:
        """Return the options with which a library reaches the server; they contain the keys.

        Parameters
        ----------
        dialect : str
            ``"object_store"`` for ``storage_options=`` of delta-rs, Lance and Polars; ``"datafusion"`` for
            ``datafusion.object_store.AmazonS3(**options)``; ``"daft"`` for ``daft.io.S3Config(**options)``;
            ``"duckdb"`` for settings of httpfs (see also `duckdb_secret`); ``"boto3"`` for
            ``boto3.client("s3", **options)``; ``"s3fs"`` for ``s3fs.S3FileSystem(**options)``; ``"gdal"`` for
            environment variables of GDAL, rasterio and pyogrio.

        Returns
        -------
        dict

        Raises
        ------
        ValueError
            For an unknown dialect.

        Examples
        --------
        >>> with serve("opendal+memory://lake") as server:
        ...     sorted(server.storage_options("s3fs"))
        ['client_kwargs', 'endpoint_url', 'key', 'secret']
        """
        return dialects.options(self._access, dialect)

    def duckdb_secret(self, name: str = "opendalfs") -> str:
        """Return a CREATE SECRET statement for DuckDB's httpfs, which concerns this bucket only.

        Parameters
        ----------
        name : str
            Name of the secret.

        Returns
        -------
        str
        """
        return dialects.duckdb_secret(self._access, name)

    def close(self) -> None:
        """Stop the server. Requests and uploads in progress are aborted; a second call does nothing."""
        _running.discard(self)
        self._server.stop()

    def close_inherited(self) -> None:
        """Close the sockets that a forked child has inherited. The server runs in the parent only."""
        self._server.close_inherited()


def serve(
    source: str | OpendalFileSystem,
    *,
    path: str = "",
    writable: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
    bucket: str = "opendalfs",
    **options: Any,
) -> S3Endpoint:
    """Serve a directory of any service as a bucket of S3, from a thread of this process.

    Parameters
    ----------
    source : str or OpendalFileSystem
        URL of the directory, such as ``"opendal+webdav://host/data"``; a path of the local disk; or a
        filesystem, with the directory as `path`.
    path : str
        Directory in the filesystem.
    writable : bool
        Whether clients may write and remove objects. If not, they get an error that says so.
    host : str
        Address to listen on. Requests are signed but not encrypted: beyond this machine, put a server with
        TLS in front.
    port : int
        Port to listen on; 0 for any free one.
    bucket : str
        Name of the bucket, which clients put in ``s3://<bucket>/<key>``.
    **options
        Options of the service, if `source` is a URL.

    Returns
    -------
    S3Endpoint
        The running server. It stops at the end of a ``with`` block, at `S3Endpoint.close` and when the
        process exits.

    Raises
    ------
    OptionError
        For a wrong option; for options in addition to a filesystem.
    ValueError
        For an invalid name of a bucket; for a path that no service can reach.
    UnsupportedError
        With `writable`, if the service cannot write.
    OSError
        If the port is in use.

    Examples
    --------
    >>> import opendalfs
    >>> with opendalfs.serve("opendal+memory://lake", writable=True) as server:
    ...     print(server.url)
    s3://opendalfs/
    """
    process.check_fork()
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"invalid bucket {bucket!r}: use 3 to 63 lower-case letters, digits, dots and hyphens"
        )
    if isinstance(source, OpendalFileSystem):
        if options:
            raise OptionError(
                f"{source!r} already has its options: pass {', '.join(options)} to its constructor"
            )
        filesystem, root = source, source._strip_protocol(path)
    elif isinstance(source, str):
        filesystem, base = url_to_fs(source, **options)
        root = filesystem._strip_protocol(f"{base}/{path}" if path else base)
    else:
        raise TypeError(
            f"cannot serve {type(source).__name__}: pass a URL such as opendal+s3://bucket/prefix, or a "
            "filesystem of opendalfs"
        )
    directory = Directory(filesystem, root, writable=writable)
    if writable:
        directory.connection.require("write", "write")
        if directory.connection.service.locality is Locality.REMOTE:
            # OpenDAL takes an error of status 200 for a success, which the client would be told.
            directory.connection = with_options(directory.connection, {}, verify_writes=True)
    return S3Endpoint(directory, bucket, host, port)


def _hosts(endpoint: str, host: str) -> frozenset[str] | None:
    """Return the values of the header Host that are served; None for all, where any name may lead here."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        return None
    port = endpoint.rpartition(":")[2]
    names = {*_LOOPBACK_NAMES, endpoint.partition("://")[2].rpartition(":")[0]}
    return frozenset({f"{name}:{port}" for name in names} | (names if port == "80" else set()))


def _after_fork() -> None:
    """Close the servers in a forked child: their threads run in the parent only."""
    while _running:
        _running.pop().close_inherited()


process.after_fork(_after_fork)
