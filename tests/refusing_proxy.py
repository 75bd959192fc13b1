"""A proxy that passes requests on to a server and refuses some of them."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

__all__ = ["RefusingProxy"]

_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class RefusingProxy:
    """A proxy in threads of this process that can answer 403, or cut an answer short, in the server's place.

    Parameters
    ----------
    endpoint : str
        URL of the server, ``http://`` only.

    Attributes
    ----------
    refuses : callable
        Takes method, path and headers of a request; returns None to pass it on, ``"403"`` or ``"cut"``.
    refused : int
        Requests refused so far.
    """

    def __init__(self, endpoint: str) -> None:
        self.refuses: Callable[[str, str, Mapping[str, str]], str | None] = _passes
        self.refused = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, urlsplit(endpoint).netloc))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def through(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options with the proxy's address in place of the server's ``endpoint_url``."""
        return {**options, "endpoint_url": f"http://127.0.0.1:{self._server.server_port}"}

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

        def refuses(verb: str, path: str, headers: Mapping[str, str]) -> str | None:
            if verb != method or key not in path or not left[0]:
                return None
            left[0] -= 1
            return how

        self.refused = 0
        self.refuses = refuses

    def decide(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """Return what to do with a request, and count it where it is refused."""
        with self._lock:
            how = self.refuses(method, path, headers)
            self.refused += how is not None
            return how


def _passes(method: str, path: str, headers: Mapping[str, str]) -> str | None:
    return None


def _handler(proxy: RefusingProxy, server: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            how = proxy.decide(self.command, self.path, self.headers)
            if how == "403":
                self._answer(403, {"Content-Type": "application/xml"}, _DENIED)
            else:
                self._forward(body, cut=how == "cut")

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

        def _forward(self, body: bytes, cut: bool) -> None:
            connection = http.client.HTTPConnection(server, timeout=30)
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body or None)
                answer = connection.getresponse()
                kept = {k: v for k, v in answer.getheaders() if k.lower() != "transfer-encoding"}
                self._answer(answer.status, kept, answer.read(), cut)
            finally:
                connection.close()

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes, cut: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() != "content-length" or self.command == "HEAD":
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = self.close_connection or cut

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
