"""The gateway: an S3 server on the loopback interface, in a thread of its own.

To its client, storage is S3 at ``http://127.0.0.1:<port>``. The core's reader and writer do the work, so that
the client can push down to storage what it pushes down to S3.

Only clients that know the access key id of this process are served. The key is random, in no URL, and
compared in constant time. A bucket is a mount, with a random name too. A mount is read-only unless it was
made for writing.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, Final

from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.runtime import interrupts, process

from .handlers import MountHandlers
from .http_server import HttpServer
from .mount import Mount
from .mounts import Mounts
from .sink_uploads import SinkUploads

__all__ = ["Gateway", "gateway"]

_REGION: Final = "us-east-1"
_UPLOAD_EXPIRY: Final = 3600.0


class Gateway:
    """An S3 server on the loopback interface.

    Parameters
    ----------
    upload_expiry : float
        Seconds after which an idle multipart upload is aborted.

    Attributes
    ----------
    endpoint : str
        URL of the server.

    Examples
    --------
    >>> import opendalfs
    >>> server = Gateway()
    >>> base = server.mount(opendalfs.filesystem("memory"), "lake")
    >>> server.stop()
    """

    def __init__(self, upload_expiry: float = _UPLOAD_EXPIRY) -> None:
        self.pid = os.getpid()
        self._key_id = secrets.token_hex(20)
        # Clients need a secret to sign with. The key id alone decides, so signatures are not checked.
        self._secret = secrets.token_hex(20)
        self._uploads = SinkUploads(upload_expiry)
        self._mounts = Mounts(self._uploads.sinks.close)
        self._handlers = MountHandlers(self._key_id, self._mounts, self._uploads)
        self._server = HttpServer("opendalfs-gateway", self._handlers, self._uploads)
        self._thread = self._server.thread
        self.endpoint = self._server.endpoint

    def __repr__(self) -> str:
        return f"Gateway({self.endpoint!r}, {len(self._mounts)} mounts)"

    @property
    def storage_options(self) -> Mapping[str, Any]:
        """Storage options for Polars, or another client that uses Rust's object_store.

        They override all variables of the environment that concern S3 or proxies.
        """
        return MappingProxyType(
            {
                "aws_endpoint_url": self.endpoint,
                "aws_endpoint_url_s3": self.endpoint,
                "aws_access_key_id": self._key_id,
                "aws_secret_access_key": self._secret,
                "aws_region": _REGION,
                "aws_allow_http": "true",
                "aws_virtual_hosted_style_request": "false",
                "aws_skip_signature": "false",
                "aws_s3_express": "false",
                "aws_unsigned_payload": "true",
                # A given proxy replaces that of the environment, and this one is never used.
                "aws_proxy_url": self.endpoint,
                "aws_proxy_excludes": "127.0.0.1",
                # The core retries. After a broken connection Polars repeats the request anyway.
                "max_retries": 0,
            }
        )

    def mount(
        self, filesystem: ServiceFileSystem, root: str, *, write: bool = False, hold: bool = False
    ) -> str:
        """Serve a directory to a scan or sink, or to several that belong together.

        Parameters
        ----------
        filesystem : ServiceFileSystem
            The filesystem.
        root : str
            The directory, as a path of that filesystem.
        write : bool
            Whether objects may be written.
        hold : bool
            Whether to publish nothing before `publish` is called.

        Returns
        -------
        str
            Base of the URLs of its objects. The bucket is always the same for a directory, so that a client
            keeps its connections. The rest differs for each scan.
        """
        interrupts.watch()
        bucket, mount, scan = self._mounts.open(filesystem, root, write=write, keep=hold)
        if write:
            self._uploads.sinks.open(mount, scan, hold=hold)
        return f"s3://{bucket}/{scan}/{mount.label}/"

    def release(self, base: str) -> None:
        """End a scan. Later reads with its base URL fail."""
        self._mounts.close(*_scan_of(base))

    def publish(self, base: str) -> None:
        """Publish the held files of a sink, and end it.

        Parameters
        ----------
        base : str
            Base URL of the sink.

        Raises
        ------
        OSError
            If a file cannot be published, if the sink has ended already, and if the gateway was stopped.
        """
        if not self._end_sink(self._uploads.publish, base):
            raise OSError(
                errno.ECANCELED,
                "Not published: the gateway was stopped before the sink had ended. Write again",
                base,
            )

    def end(self, base: str) -> None:
        """End a sink: drop its held files and its uploads in progress. Nothing of them is published."""
        self._end_sink(self._uploads.end, base)

    def _end_sink(self, function: Callable[[Mount, str], Coroutine[Any, Any, None]], base: str) -> bool:
        """End a sink with a function that runs in the gateway's thread; return whether it ran to its end."""
        bucket, scan = _scan_of(base)
        mount = self._mounts.find(bucket)
        if mount is None:
            return False
        try:
            return self._thread.run(lambda: function(mount, scan))
        except KeyboardInterrupt:
            self._uploads.threads.interrupt()
            raise
        finally:
            self._mounts.close(bucket, scan)

    @property
    def uploads(self) -> int:
        """Number of multipart uploads in progress."""
        return len(self._uploads)

    def stop(self) -> None:
        """Stop the server, and cancel requests in progress. A second call does nothing."""
        self._server.stop()

    def close_inherited(self) -> None:
        """Close the sockets that a forked child has inherited. The thread runs in the parent only."""
        self._server.close_inherited()


def _scan_of(base: str) -> tuple[str, str]:
    """Return the bucket and the name of the scan in a base."""
    bucket, scan = base.removeprefix("s3://").split("/")[:2]
    return bucket, scan


_gateway: Gateway | None = None
_lock = threading.Lock()


def gateway() -> Gateway:
    """Return the gateway of this process. The first call starts it.

    Returns
    -------
    Gateway

    Raises
    ------
    ForkError
        In a forked child of a process that has used storage.

    Examples
    --------
    >>> gateway() is gateway()
    True
    """
    global _gateway
    process.check_fork()
    with _lock:
        if _gateway is None:
            _gateway = Gateway()
        return _gateway


def _after_fork() -> None:
    """Make a forked child start a gateway of its own."""
    global _gateway, _lock
    _lock = threading.Lock()
    inherited, _gateway = _gateway, None
    if inherited is not None:
        inherited.close_inherited()


process.after_fork(_after_fork)
