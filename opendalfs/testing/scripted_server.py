"""An HTTP server whose responses a function makes, for faults on demand and a record of all requests."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Request", "Response", "ScriptedServer", "drip", "endless", "object_headers"]

ETAG = '"0123456789abcdef0123456789abcdef"'
_TLS_HANDSHAKE = b"\x16"


class Response(NamedTuple):
    """A response of a `ScriptedServer`.

    Parameters
    ----------
    status : int
        HTTP status.
    headers : mapping
        Headers. ``Content-Length`` is added where `body` is bytes and no header states a length.
    body : bytes or iterable of bytes
        The body, or its pieces, sent one by one.

    Examples
    --------
    >>> from opendalfs.testing import Response
    >>> Response(200, body=b"hello").all_headers()
    {'Content-Length': '5'}
    """

    status: int
    headers: Mapping[str, str] = {}
    body: bytes | Iterable[bytes] = b""

    def all_headers(self) -> dict[str, str]:
        """Return the headers, with a ``Content-Length`` where it is known and missing."""
        names = {name.lower() for name in self.headers}
        if isinstance(self.body, bytes) and not names & {"content-length", "transfer-encoding"}:
            return {**self.headers, "Content-Length": str(len(self.body))}
        return dict(self.headers)

    def pieces(self) -> Iterable[bytes]:
        """Return the pieces of the body."""
        return [self.body] if isinstance(self.body, bytes) else self.body


class Request:
    """A request that a `ScriptedServer` received.

    Attributes
    ----------
    method : str
        HTTP method.
    target : str
        Path and query, as sent.
    headers : mapping
        Headers; the names are in lower case.
    body : bytes
        The body.

    Examples
    --------
    >>> import urllib.request
    >>> from opendalfs.testing import Response, ScriptedServer
    >>> with ScriptedServer(lambda request: Response(200, body=request.target.encode())) as server:
    ...     urllib.request.urlopen(f"{server.endpoint}/a?b=1").read()
    b'/a?b=1'
    >>> server.requests[0].method
    'GET'
    """

    def __init__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, server: ScriptedServer
    ):
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self._server = server

    @property
    def text(self) -> str:
        """The whole request as text, to search for secrets."""
        headers = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"{self.method} {self.target}\n{headers}\n{self.body.decode(errors='replace')}"

    def stall(self) -> Response | None:
        """Send nothing until the server stops."""
        self._server.stopped.wait()
        return None

    def forward(self, endpoint: str) -> Response:
        """Send the request to another server, whose URL is `endpoint`, and return its response."""
        address = urlsplit(endpoint).netloc
        with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
            connection.request(self.method, self.target, self.body or None, dict(self.headers))
            response = connection.getresponse()
            body = response.read()
            headers = {k: v for k, v in response.getheaders() if k.lower() != "transfer-encoding"}
            if self.method != "HEAD" and response.status not in (204, 304):
                headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
                headers["Content-Length"] = str(len(body))
            return Response(response.status, headers, [body])

    def range(self, size: int) -> tuple[int, int]:
        """Return the offset and the number of bytes that a GET requests of an object of `size` bytes."""
        found = self.headers.get("range", "bytes=0-").removeprefix("bytes=")
        first, _, last = found.partition("-")
        return int(first), min(int(last) + 1 if last else size, size) - int(first)

    def pause(self, seconds: float) -> bool:
        """Wait; return False as soon as the server stops."""
        return not self._server.stopped.wait(seconds)


class ScriptedServer:
    """An HTTP server on a free port of this machine whose responses a function makes.

    Parameters
    ----------
    respond : callable, optional
        Takes a `Request` and returns a `Response`, or None to close the connection without one. It runs in a
        thread per connection. The default is status 404 for every request.

    Attributes
    ----------
    requests : list of Request
        Every request received.
    connections : int
        Number of connections accepted.
    sent : int
        Bytes of all bodies sent.

    Examples
    --------
    A server in front of `s3_server` that never responds to one part of an upload::

        def respond(request):
            if "partNumber=2" in request.target:
                return request.stall()
            return request.forward(s3_server.endpoint)

        with ScriptedServer(respond) as server:
            fs = opendalfs.filesystem("s3", **{**s3_server.options, "endpoint_url": server.endpoint})

    >>> import urllib.request
    >>> from opendalfs.testing import Response, ScriptedServer
    >>> with ScriptedServer(lambda request: Response(200, body=b"hello")) as server:
    ...     urllib.request.urlopen(server.endpoint).read()
    b'hello'
    >>> server.count("GET")
    1
    """

    def __init__(self, respond: Callable[[Request], Response | None] | None = None) -> None:
        self.respond = respond or (lambda _: Response(404))
        self.stopped = threading.Event()
        self.requests: list[Request] = []
        self.connections = 0
        self.sent = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.scripted = self

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return f"http://{self.host}"

    def count(self, method: str) -> int:
        """Return the number of requests of one method so far."""
        return sum(request.method == method for request in self.requests)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *details: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 300
    scripted: ScriptedServer

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.scripted.connections += 1
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error: clients that give up, or speak TLS, are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def handle_one_request(self) -> None:
        if self.rfile.peek(1)[:1] == _TLS_HANDSHAKE:  # type: ignore[attr-defined]
            self.close_connection = True
            return
        super().handle_one_request()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        scripted = self.server.scripted
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, scripted)
        scripted.requests.append(request)
        response = scripted.respond(request)
        if response is not None:
            with suppress(OSError):
                self._send(response)
                return
        self.close_connection = True

    def _send(self, response: Response) -> None:
        lines = [f"HTTP/1.1 {response.status} X"]
        lines += [f"{name}: {value}" for name, value in response.all_headers().items()]
        self.wfile.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        if self.command == "HEAD":
            return
        for piece in response.pieces():
            self.wfile.write(piece)
            self.server.scripted.sent += len(piece)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_OPTIONS = _serve
    do_PROPFIND = do_MOVE = do_MKCOL = _serve


def object_headers(size: int, **more: str) -> dict[str, str]:
    """Return the headers that S3 sends for an object of `size` bytes, and `more`, with ``-`` for ``_``.

    Examples
    --------
    >>> from opendalfs.testing import object_headers
    >>> object_headers(5, content_type="text/plain")["content-type"]
    'text/plain'
    """
    return {
        "Content-Length": str(size),
        "ETag": ETAG,
        "Last-Modified": "Wed, 25 Nov 2026 00:00:00 GMT",
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def drip(request: Request, size: int, seconds: float, piece: int = 1) -> Iterator[bytes]:
    """Yield a body of `size` bytes in pieces of `piece` bytes, one every `seconds` seconds.

    Examples
    --------
    >>> import urllib.request
    >>> from opendalfs.testing import Response, ScriptedServer, drip
    >>> headers = {"Content-Length": "3"}
    >>> with ScriptedServer(lambda request: Response(200, headers, drip(request, 3, 0.01))) as server:
    ...     urllib.request.urlopen(server.endpoint).read()
    b'xxx'
    """
    for start in range(0, size, piece):
        yield b"x" * min(piece, size - start)
        if not request.pause(seconds):
            return


def endless(request: Request, piece: int = 1 << 16, pause: float = 0) -> Iterator[bytes]:
    """Yield a chunked body without an end, in pieces of `piece` bytes, one every `pause` seconds.

    Examples
    --------
    >>> import urllib.request
    >>> from opendalfs.testing import Response, ScriptedServer, endless
    >>> headers = {"Transfer-Encoding": "chunked"}
    >>> with ScriptedServer(lambda request: Response(200, headers, endless(request))) as server:
    ...     with urllib.request.urlopen(server.endpoint) as response:
    ...         response.read(5)
    b'xxxxx'
    """
    data = b"%x\r\n%s\r\n" % (piece, b"x" * piece)
    while request.pause(pause):
        yield data
