"""The sockets of the gateway: who stays connected, and what a forked child closes."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import MutableMapping
from functools import partial
from typing import Any, Final
from weakref import WeakSet

from aiohttp import web

__all__ = ["Connections", "QuietLogger"]

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 1024
_FIRST_REQUEST_SECONDS: Final = 10.0
"""How long a connection may go without a request that holds the key."""

_MOST_WITHOUT_KEY: Final = 256
"""Connections without such a request; beyond it the oldest is closed. Clients send theirs at once."""

_PAUSE_SECONDS: Final = 0.1


class Connections:
    """Listens on the loopback, and serves connections that soon show the key.

    Examples
    --------
    >>> connections = Connections()
    >>> connections.endpoint.startswith("http://127.0.0.1:")
    True
    >>> connections.close()
    """

    def __init__(self) -> None:
        self._listener = _listen()
        self.endpoint = f"http://{_HOST}:{self._listener.getsockname()[1]}"
        # asyncio owns them; a forked child must close what it inherits.
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
                # Such as no file descriptors left: others may close some.
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._accepted.add(accepted)
            handler = server()
            self._await_key(loop, handler)
            try:
                await loop.connect_accepted_socket(partial(_same, handler), accepted)
            except OSError:
                # The client has gone already.
                accepted.close()

    def _await_key(self, loop: asyncio.AbstractEventLoop, handler: web.RequestHandler) -> None:
        while len(self._without_key) >= _MOST_WITHOUT_KEY:
            self._drop(next(iter(self._without_key)))
        self._without_key[handler] = loop.call_later(_FIRST_REQUEST_SECONDS, self._drop, handler)

    def admit(self, handler: web.RequestHandler) -> None:
        """Keep a connection, as a request on it held the key."""
        timer = self._without_key.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def _drop(self, handler: web.RequestHandler) -> None:
        self.admit(handler)
        transport = handler.transport
        handler.force_close()
        if isinstance(transport, asyncio.WriteTransport):
            # A close alone would wait for a client that does not read.
            transport.abort()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def close_inherited(self) -> None:
        """Close the forked child's copies of all sockets.

        The sockets themselves, past their transports: these would also take them off the poll of the parent's
        event loop, which the two processes share.
        """
        self.close()
        for accepted in list(self._accepted):
            accepted.close()


class QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs at the level DEBUG what aiohttp logs as errors: any program may send garbage to a port."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Return a message unchanged."""
        return msg, kwargs

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log an exception at the level DEBUG."""
        self.debug(msg, *args, **kwargs)

    error = exception


def _same(handler: web.RequestHandler) -> web.RequestHandler:
    return handler


def _listen() -> socket.socket:
    listener = socket.socket()
    try:
        listener.bind((_HOST, 0))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
