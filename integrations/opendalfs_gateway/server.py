"""The gateway: an S3 server on the loopback, in a thread of its own, over any of OpenDAL's services.

Polars has its own object store and takes no other, but it can be told where S3 is. So for it storage is S3 at
``http://127.0.0.1:<port>``, and what it asks there is answered by the core's reader and writer. All that
Polars can push down to storage it still does.

Who may ask: whoever knows this process's access key id, which is random, in no URL and compared in constant
time. A bucket is a mount, its name random too. A mount is read-only unless it was made for writing.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.runtime import interrupts, process

from . import s3
from .connections import Connections, QuietLogger
from .handlers import Handlers
from .loop_thread import LoopThread
from .mount import Mount
from .mounts import Mounts
from .s3 import S3Error
from .uploads import Uploads

__all__ = ["Gateway", "gateway"]

_REGION: Final = "us-east-1"
_KEEP_ALIVE: Final = 3600.0
"""Seconds. Longer than clients keep a connection, so that none is closed just when a request comes."""

_READ_BUFFER: Final = 1 << 20
_EXPIRY: Final = 3600.0
_SWEEPS: Final = 10
_SWEEP_SECONDS: Final = 30.0
_DROP_SECONDS: Final = 0.5
"""How long a stop waits for requests under way before it drops them."""

_XML: Final = "application/xml"

_logger: Final = logging.getLogger("opendalfs.gateway")


class Gateway:
    """An S3 server on the loopback.

    Parameters
    ----------
    upload_expiry : float
        Seconds after which an upload that nobody adds to is given up.

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

    def __init__(self, upload_expiry: float = _EXPIRY) -> None:
        self.pid = os.getpid()
        self._key_id = secrets.token_hex(20)
        # Clients need one to sign with; the signature tells nothing that the key id does not.
        self._secret = secrets.token_hex(20)
        self._uploads = Uploads(upload_expiry)
        self._mounts = Mounts(self._uploads.sinks.close)
        self._handlers = Handlers(self._mounts, self._uploads)
        self._connections = Connections()
        self.endpoint = self._connections.endpoint
        self._requests: dict[asyncio.Task[Any], float] = {}
        self._thread = LoopThread("opendalfs-gateway", self._serve)
        process.at_exit(self.stop)
        interrupts.on_interrupt(self.interrupt)

    def __repr__(self) -> str:
        return f"Gateway({self.endpoint!r}, {len(self._mounts)} mounts)"

    @property
    def storage_options(self) -> Mapping[str, Any]:
        """What Polars, or another client of S3 on Rust's object_store, needs to ask here.

        Whatever the environment says of S3 or of proxies, as some of that would win over what is not given.
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
                # A proxy that is given takes the place of the environment's, and this one is never asked.
                "aws_proxy_url": self.endpoint,
                "aws_proxy_excludes": "127.0.0.1",
                # The core retries. Where a connection breaks on the loopback Polars asks once more anyway.
                "max_retries": 0,
            }
        )

    def mount(
        self, filesystem: ServiceFileSystem, root: str, *, write: bool = False, hold: bool = False
    ) -> str:
        """Show a directory to one scan or sink, or several that belong together.

        Parameters
        ----------
        filesystem : ServiceFileSystem
            Where it is.
        root : str
            The directory, as a path of that filesystem.
        write : bool
            Whether objects may be written.
        hold : bool
            Whether nothing of what is written is to be published before `publish`.

        Returns
        -------
        str
            What the URLs of objects in it begin with. The bucket is the same for the same directory, so that
            a client keeps its connections; what follows is another one each time.
        """
        interrupts.watch()
        bucket, mount, scan = self._mounts.open(filesystem, root, write=write, keep=hold)
        if write:
            self._uploads.sinks.open(mount, scan, hold=hold)
        return f"s3://{bucket}/{scan}/{mount.label}/"

    def release(self, base: str) -> None:
        """End a scan that nobody will read through any more."""
        self._mounts.close(*_scan_of(base))

    def publish(self, base: str) -> None:
        """Publish what is on hold under a base.

        Raises
        ------
        OSError
            When storage refuses an object, when the sink is over already, and when the gateway was stopped.
        """
        if not self._end_sink(self._uploads.publish, base):
            raise OSError(
                errno.ECANCELED, "Not published: the gateway was stopped before the sink had ended", base
            )

    def end(self, base: str) -> None:
        """Drop what is on hold or under way under a base; nothing of it is published."""
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
        """Uploads under way."""
        return len(self._uploads)

    def stop(self) -> None:
        """Stop; requests under way are dropped. Stopping twice is no error."""
        process.remove_at_exit(self.stop)
        self._thread.stop()

    def forget(self) -> None:
        """Close what a forked child has inherited; the thread stayed with the parent."""
        process.remove_at_exit(self.stop)
        self._connections.close_inherited()

    def interrupt(self, before: float) -> bool:
        """Drop the requests that began before a time of `time.monotonic`; return whether there was any."""
        found = [task for task, began in list(self._requests.items()) if began < before]
        for task in found:
            self._thread.call_soon(task.cancel)
        return bool(found)

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        server = web.Server(
            self._answer,
            access_log=None,
            logger=QuietLogger(_logger),
            # S3 stores what it is sent, also where it is told that it is compressed.
            auto_decompress=False,
            keepalive_timeout=_KEEP_ALIVE,
            read_bufsize=_READ_BUFFER,
        )
        tasks = [asyncio.create_task(self._connections.serve(server)), asyncio.create_task(self._sweep())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            self._connections.close()
            server.pre_shutdown()
            await server.shutdown(_DROP_SECONDS)
            self._uploads.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self._uploads.expiry / _SWEEPS))
            await self._uploads.expire()
            self._handlers.expire()
            self._mounts.shrink()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever comes of it."""
        task = asyncio.current_task()
        assert task is not None
        self._requests[task] = time.monotonic()
        try:
            return await self._try_to_answer(request)
        finally:
            del self._requests[task]

    async def _try_to_answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            given = s3.access_key_id(request.headers.get("Authorization", ""))
            if not s3.equal_in_constant_time(given, self._key_id):
                raise S3Error(403, "InvalidAccessKeyId", "this is not the access key of this process")
            self._connections.admit(request.protocol)
            return await self._handlers.respond(request)
        except S3Error as exc:
            return _refused(request, exc)
        except OSError as exc:
            error = s3.to_s3_error(exc)
            if request.method == "HEAD" and error.status != 404:
                # The answer has no body, so Polars' own error cannot say why.
                _logger.warning("%s", error.message)
            return _refused(request, error)
        except RuntimeError as exc:
            # The core and Python's own pools refuse work at exit in these words; a query may be under way.
            if "interpreter" not in str(exc):
                return _unexpected(request)
            return _refused(request, S3Error(s3.FAILED, "ServiceUnavailable", "this process is exiting"))
        except Exception:
            return _unexpected(request)


def _scan_of(base: str) -> tuple[str, str]:
    """Return the bucket and the name of the scan in a base."""
    bucket, scan = base.removeprefix("s3://").split("/")[:2]
    return bucket, scan


def _refused(request: web.BaseRequest, error: S3Error) -> web.Response:
    if request.method == "HEAD":
        return web.Response(status=error.status)
    response = web.Response(status=error.status, body=error.body, content_type=_XML)
    if not request.content.at_eof():
        # A client that was to be told to go on with its body will not send it, but its next request.
        response.force_close()
    return response


def _unexpected(request: web.BaseRequest) -> web.Response:
    """Answer after a defect of ours, which is logged."""
    _logger.exception("Unexpected error: %s %.200s", request.method, request.raw_path)
    return _refused(request, S3Error(500, "InternalError", "unexpected error: see the log of this process"))


_gateway: Gateway | None = None
_lock = threading.Lock()


def gateway() -> Gateway:
    """Give the gateway of this process; started on first use.

    Returns
    -------
    Gateway

    Raises
    ------
    ForkError
        In a forked child of a process that had used storage.
    """
    global _gateway
    process.check_fork()
    with _lock:
        if _gateway is None:
            _gateway = Gateway()
        return _gateway


def _after_fork() -> None:
    """Let a forked child start its own."""
    global _gateway, _lock
    _lock = threading.Lock()
    inherited, _gateway = _gateway, None
    if inherited is not None:
        inherited.forget()


process.after_fork(_after_fork)
