"""The listening socket of the proxy, which can refuse connections for a while."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Protocol

HOST = "127.0.0.1"
BACKLOG = 1024


class Served(Protocol):
    """A thread that serves a connection."""

    def start(self) -> None:
        """Start serving."""

    def shut(self) -> None:
        """End serving, from any thread."""

    def is_alive(self) -> bool:
        """Whether it still serves."""


class Listener:
    """Accepts connections on one port of this machine.

    Parameters
    ----------
    serve : callable
        Takes a connected socket and returns the thread that serves it, not yet started.
    """

    def __init__(self, serve: Callable[[socket.socket], Served]) -> None:
        self._serve = serve
        self._served: list[Served] = []
        self._socket = socket.create_server((HOST, 0), backlog=BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._thread: threading.Thread | None = None
        self._waiting: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        """Accept connections; nothing if it does so already."""
        if self._thread is not None:
            return
        while self._waiting:
            self._waiting.pop().close()
        if self._socket.fileno() < 0:
            self._socket = socket.create_server((HOST, self.port), backlog=BACKLOG)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self, drop: bool) -> None:
        """Close all connections and refuse new ones; with `drop`, they are not even refused."""
        thread, self._thread = self._thread, None
        if thread is not None:
            socket.create_connection((HOST, self.port)).close()  # wakes the thread
            thread.join()
        self._socket.close()
        served, self._served = self._served, []
        for one in served:
            one.shut()
        if drop:
            self._fill()

    def _accept(self) -> None:
        listener = self._socket
        while True:
            client, _ = listener.accept()
            if self._thread is not threading.current_thread():
                client.close()
                return
            self._served = [one for one in self._served if one.is_alive()]
            served = self._serve(client)
            self._served.append(served)
            served.start()

    def _fill(self) -> None:
        """Fill the queue of a socket that accepts nothing: Linux drops the SYN of further connections."""
        self._socket = socket.create_server((HOST, self.port), backlog=0)
        self._waiting.append(self._socket)
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect((HOST, self.port))
            self._waiting.append(one)
