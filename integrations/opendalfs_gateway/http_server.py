"""An HTTP server in a thread of its own: sockets, the requests in progress, and responses that are errors."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from aiohttp import web

from opendalfs.runtime import interrupts, process

from . import s3
from .body import Body
from .connections import Connections, QuietLogger
from .loop_thread import LoopThread
from .s3 import S3Error
from .uploads import Uploads

__all__ = ["Handlers", "HttpServer", "logger"]

_KEEP_ALIVE: Final = 3600.0
"""Seconds. Longer than clients keep a connection, so that none is closed while a request is being sent."""

_READ_BUFFER: Final = 1 << 20
_CLEANUP_SECONDS: Final = 30.0
_CLEANUPS_PER_EXPIRY: Final = 10
_SHUTDOWN_SECONDS: Final = 0.5
"""How long a stop waits for requests in progress before it cancels them."""

_XML: Final = "application/xml"

logger: Final = logging.getLogger("opendalfs.gateway")


class Handlers(Protocol):
    """What a server does with its requests."""

    def authenticate(self, request: web.BaseRequest) -> Body:
        """Return the body of a request that may be served.

        Raises
        ------
        S3Error
            403 for all others.
        """

    async def respond(self, request: web.BaseRequest, body: Body) -> web.StreamResponse:
        """Respond to a request that may be served.

        Raises
        ------
        S3Error, OSError
            What went wrong.
        """

    def expire(self) -> None:
        """Drop what is kept for later requests and is too old."""


class HttpServer:
    """A server that runs from its construction until `stop`.

    Parameters
    ----------
    name : str
        Name of its thread.
    handlers : Handlers
        What it does with its requests.
    uploads : Uploads
        The uploads in progress, which it expires.
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 for any free one.

    Attributes
    ----------
    endpoint : str
        URL of the server.
    thread : LoopThread
        The thread of its event loop.
    """

    def __init__(
        self, name: str, handlers: Handlers, uploads: Uploads, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._handlers = handlers
        self._uploads = uploads
        self._connections = Connections(host, port)
        self.endpoint = self._connections.endpoint
        self._requests: dict[asyncio.Task[Any], float] = {}
        self.thread = LoopThread(name, self._serve)
        process.at_exit(self.stop)
        interrupts.on_interrupt(self.interrupt)

    def stop(self) -> None:
        """Stop the server, and cancel requests in progress. A second call does nothing."""
        process.remove_at_exit(self.stop)
        self.thread.stop()

    def close_inherited(self) -> None:
        """Close the sockets that a forked child has inherited. The thread runs in the parent only."""
        process.remove_at_exit(self.stop)
        self._connections.close_inherited()

    def interrupt(self, before: float) -> bool:
        """Cancel the requests that began before a time of `time.monotonic`; return whether there were any."""
        found = [task for task, began in list(self._requests.items()) if began < before]
        for task in found:
            self.thread.call_soon(task.cancel)
        return bool(found)

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        server = web.Server(
            self._respond,
            access_log=None,
            logger=QuietLogger(logger),
            # S3 stores bodies as they are sent, compressed or not.
            auto_decompress=False,
            keepalive_timeout=_KEEP_ALIVE,
            read_bufsize=_READ_BUFFER,
        )
        tasks = [asyncio.create_task(self._connections.serve(server)), asyncio.create_task(self._clean_up())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            self._connections.close()
            server.pre_shutdown()
            await server.shutdown(_SHUTDOWN_SECONDS)
            self._uploads.close()

    async def _clean_up(self) -> None:
        while True:
            await asyncio.sleep(min(_CLEANUP_SECONDS, self._uploads.expiry / _CLEANUPS_PER_EXPIRY))
            await self._uploads.expire()
            self._handlers.expire()

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to one request, also if it fails."""
        task = asyncio.current_task()
        assert task is not None
        self._requests[task] = time.monotonic()
        try:
            return await self._try_to_respond(request)
        finally:
            del self._requests[task]

    async def _try_to_respond(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = self._handlers.authenticate(request)
            self._connections.admit(request.protocol)
            return await self._handlers.respond(request, body)
        except S3Error as exc:
            return _error_response(request, exc)
        except OSError as exc:
            error = s3.to_s3_error(exc)
            if request.method == "HEAD" and error.status != 404:
                # The response has no body, so that the client's error cannot show the reason.
                logger.warning("%s", error.message)
            return _error_response(request, error)
        except RuntimeError as exc:
            # The core and Python's thread pools raise this at exit, when a query may still run.
            if "interpreter" not in str(exc):
                return _internal_error(request)
            return _error_response(
                request,
                S3Error(s3.FAILED, "ServiceUnavailable", "storage cannot be used: this process is exiting"),
            )
        except Exception:
            return _internal_error(request)


def _error_response(request: web.BaseRequest, error: S3Error) -> web.Response:
    if request.method == "HEAD" or error.status == 304:
        return web.Response(status=error.status, headers=error.headers)
    response = web.Response(status=error.status, body=error.body, content_type=_XML, headers=error.headers)
    if "Expect" in request.headers or not request.content.at_eof():
        # After "Expect: 100-continue" the client sends no body now, but its next request. botocore 1.41
        # cannot read further responses of the connection, even if the body is empty.
        response.force_close()
    return response


def _internal_error(request: web.BaseRequest) -> web.Response:
    """Log an unexpected exception, and return a response."""
    logger.exception("Unexpected error: %s %.200s", request.method, request.raw_path.partition("?")[0])
    return _error_response(
        request,
        S3Error(500, "InternalError", "unexpected error: see the logger opendalfs.gateway of this process"),
    )
