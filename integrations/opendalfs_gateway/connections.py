"""The sockets of the gateway."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import MutableMapping
from functools import partial
from typing import Any, Final
from weakref import WeakSet

from aiohttp import web

__all__ = ["Connections", "QuietLogger"]

_BACKLOG: Final = 1024
_FIRST_REQUEST_SECONDS: Final = 10.0
"""How long a connection may exist without a request that holds the key."""

_MAX_WITHOUT_KEY: Final = 256
"""Connections without such a request. Beyond it the oldest is closed. Clients send a request at once."""

_RETRY_SECONDS: Final = 0.1


class Connections:
    """Accepts connections, and closes those that do not soon send the key.

    Parameters
    ----------
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 for any free one.

    Examples
    --------
    >>> connections = Connections()
    >>> connections.endpoint.startswith("http://127.0.0.1:")
    True
    >>> connections.close()
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listener = _listen(host, port)
        name = f"[{host}]" if ":" in host else host
        self.endpoint = f"http://{name}:{self._listener.getsockname()[1]}"
        # asyncio owns them. A forked child must close its copies.
        self._accepted: WeakSet[socket.socket] = WeakSet()
        self._without_key: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    async def serve(self, server: web.Server) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listener)
            except OSError as exc:
                if exc.errno == errno.EBADF:
                    return
                # Such as too many open files: others may close some.
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._accepted.add(accepted)
            handler = server()
            self._await_key(loop, handler)
            try:
                await loop.connect_accepted_socket(partial(_identity, handler), accepted)
            except OSError:
                # The client has disconnected already.
                accepted.close()

    def _await_key(self, loop: asyncio.AbstractEventLoop, handler: web.RequestHandler) -> None:
        while len(self._without_key) >= _MAX_WITHOUT_KEY:
            self._drop(next(iter(self._without_key)))
        self._without_key[handler] = loop.call_later(_FIRST_REQUEST_SECONDS, self._drop, handler)

    def admit(self, handler: web.RequestHandler) -> None:
        """Keep a connection: a request on it held the key."""
        timer = self._without_key.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def _drop(self, handler: web.RequestHandler) -> None:
        self.admit(handler)
        transport = handler.transport
        handler.force_close()
        if isinstance(transport, asyncio.WriteTransport):
            # `close` would wait for a client that does not read.
            transport.abort()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def close_inherited(self) -> None:
        """Close the copies of all sockets in a forked child.

        Not with their transports: those would also remove the sockets from the selector of the parent's event
        loop, which both processes share.
        """
        self.close()
        for accepted in list(self._accepted):
            accepted.close()


class QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs aiohttp's errors at the level DEBUG: any program may send garbage to a port."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Return a message unchanged."""
        return msg, kwargs

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log an exception at the level DEBUG."""
        self.debug(msg, *args, **kwargs)

    error = exception


def _identity(handler: web.RequestHandler) -> web.RequestHandler:
    return handler


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if port and os.name == "posix":
            # A port that was in use a moment ago. On Windows this would share it with another program.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
