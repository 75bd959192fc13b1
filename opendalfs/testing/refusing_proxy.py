"""A proxy that passes requests on to a server and refuses some of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from opendalfs.testing.scripted_server import Request, Response, ScriptedServer

__all__ = ["RefusingProxy"]

_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_HEADERS = {"Content-Type": "application/xml", "Content-Length": str(len(_DENIED))}


class RefusingProxy:
    """A proxy that can answer 403, or cut an answer short, in the server's place.

    Parameters
    ----------
    endpoint : str
        URL of the server, ``http://`` only.

    Attributes
    ----------
    refuses : callable
        Takes a request; returns None to pass it on, ``"403"`` or ``"cut"``.
    refused : int
        Requests refused so far.
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
        """Return options with the proxy's address in place of the server's ``endpoint_url``."""
        return {**options, "endpoint_url": self._server.endpoint}

    def refuse(self, times: int, how: str = "403", method: str = "GET", key: str = "") -> None:
        """Refuse the next requests of a method whose path contains `key`, and pass on all others.

        Parameters
        ----------
        times : int
            How many.
        how : {"403", "cut"}
            What to do instead.
        method : str
            Of the requests to refuse.
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
    """Yield the first half of a body, and end the connection."""
    yield body[: len(body) // 2]
    raise ConnectionAbortedError
