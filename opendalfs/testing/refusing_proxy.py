"""A proxy that forwards requests to a server and refuses some of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from opendalfs.testing.scripted_server import Request, Response, ScriptedServer

__all__ = ["RefusingProxy"]

_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_HEADERS = {"Content-Type": "application/xml", "Content-Length": str(len(_DENIED))}


class RefusingProxy:
    """A proxy that responds with 403, or cuts a response, instead of the server.

    Parameters
    ----------
    endpoint : str
        URL of the server, ``http://`` only.

    Attributes
    ----------
    refuses : callable
        Takes a request; returns None to forward it, ``"403"`` or ``"cut"``.
    refused : int
        Number of requests refused since `refuse`.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import RefusingProxy, s3_server
    >>> with s3_server() as server, RefusingProxy(server.endpoint) as proxy:
    ...     fs = opendalfs.filesystem("s3", **proxy.through(server.options))
    ...     fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
    ...     proxy.refuse(1)
    ...     try:
    ...         fs.cat_file(f"{server.bucket}/hello.txt")
    ...     except PermissionError:
    ...         fs.cat_file(f"{server.bucket}/hello.txt")
    b'hello'
    """

    def __init__(self, endpoint: str) -> None:
        self.refuses: Callable[[Request], str | None] = lambda _: None
        self.refused = 0
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._server = ScriptedServer(self._respond)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._server.__exit__(*details)

    def through(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options of a client that connects through the proxy; they have an ``endpoint_url``."""
        return {**options, "endpoint_url": self._server.endpoint}

    def refuse(self, times: int, how: str = "403", method: str = "GET", key: str = "") -> None:
        """Refuse the next requests of a method whose path contains `key`, and forward all others.

        Parameters
        ----------
        times : int
            Number of requests to refuse.
        how : {"403", "cut"}
            Status 403, or half of the body and a closed connection.
        method : str
            Method of the requests to refuse.
        key : str
            Part of the path of the requests to refuse.
        """
        left = [times]

        def refuses(request: Request) -> str | None:
            if request.method != method or key not in request.target or not left[0]:
                return None
            left[0] -= 1
            return how

        self.refused = 0
        self.refuses = refuses

    def _respond(self, request: Request) -> Response:
        with self._lock:
            how = self.refuses(request)
            self.refused += how is not None
        if how == "403":
            return Response(403, _HEADERS, [] if request.method == "HEAD" else [_DENIED])
        response = request.forward(self._endpoint)
        return response if how is None else response._replace(body=_half(b"".join(response.pieces())))


def _half(body: bytes) -> Iterator[bytes]:
    """Yield the first half of a body, and close the connection."""
    yield body[: len(body) // 2]
    raise ConnectionAbortedError
