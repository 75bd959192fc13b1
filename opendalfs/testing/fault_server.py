"""A hand-written HTTP server that breaks the rules on purpose, alone or in front of a real server.

::

    def answer(request):
        if "partNumber=2" in request.target:
            return request.stall()
        return request.forward(s3_server.endpoint)

    with FaultServer(answer) as server:
        fs = opendalfs.S3FileSystem(endpoint_url=server.endpoint, ...)
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["Answer", "FaultServer", "Request", "drip", "endless", "object_headers"]

ETAG = '"0123456789abcdef0123456789abcdef"'


class Answer(NamedTuple):
    """A response: its status, its headers, and the pieces of its body in turn."""

    status: int
    headers: Mapping[str, str]
    body: Iterable[bytes] = ()


class Request:
    """One request, as the function that answers it sees it."""

    def __init__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, server: FaultServer
    ):
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self._server = server

    def stall(self) -> Answer | None:
        """Answer nothing until the server stops."""
        self._server.stopped.wait()
        return None

    def forward(self, endpoint: str) -> Answer:
        """Return what another server answers."""
        address = urlsplit(endpoint).netloc
        with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
            connection.request(self.method, self.target, self.body or None, dict(self.headers))
            response = connection.getresponse()
            body = response.read()
            headers = {k: v for k, v in response.getheaders() if k.lower() != "transfer-encoding"}
            if self.method != "HEAD" and response.status not in (204, 304):
                headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
                headers["Content-Length"] = str(len(body))
            return Answer(response.status, headers, [body])

    def range(self, size: int) -> tuple[int, int]:
        """Return the offset and the number of bytes that a GET asks for, of an object of `size` bytes."""
        found = self.headers.get("range", "bytes=0-").removeprefix("bytes=")
        first, _, last = found.partition("-")
        return int(first), min(int(last) + 1 if last else size, size) - int(first)

    def pause(self, seconds: float) -> bool:
        """Wait; False once the server stops."""
        return not self._server.stopped.wait(seconds)


class FaultServer:
    """Serves HTTP on a free port of this machine; `answer` makes each response, in a thread of its own."""

    def __init__(self, answer: Callable[[Request], Answer | None]) -> None:
        self.answer = answer
        self.stopped = threading.Event()
        self.requests: list[Request] = []
        self.sent = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.faults = self

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def count(self, method: str) -> int:
        """Count the requests of one method so far."""
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
    faults: FaultServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        faults = self.server.faults
        request = Request(
            self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body, faults
        )
        faults.requests.append(request)
        answer = faults.answer(request)
        if answer is None:
            self.close_connection = True
            return
        with suppress(OSError):
            self.wfile.write(f"HTTP/1.1 {answer.status} X\r\n".encode())
            for name, value in answer.headers.items():
                self.wfile.write(f"{name}: {value}\r\n".encode())
            self.wfile.write(b"\r\n")
            if self.command == "HEAD":
                return
            for piece in answer.body:
                self.wfile.write(piece)
                faults.sent += len(piece)
            return
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PROPFIND = do_OPTIONS = _serve


def object_headers(size: int, **more: str) -> dict[str, str]:
    """Return the headers of an object of `size` bytes, as S3 sends them."""
    return {
        "Content-Length": str(size),
        "ETag": ETAG,
        "Last-Modified": "Wed, 25 Nov 2026 00:00:00 GMT",
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def drip(request: Request, size: int, seconds: float, piece: int = 1) -> Iterator[bytes]:
    """Yield a piece of a body of `size` bytes each so many seconds."""
    for start in range(0, size, piece):
        yield b"x" * min(piece, size - start)
        if not request.pause(seconds):
            return


def endless(request: Request, piece: int = 1 << 16, pause: float = 0) -> Iterator[bytes]:
    """Yield a chunked body that has no end, a piece each so many seconds."""
    data = b"%x\r\n%s\r\n" % (piece, b"x" * piece)
    while request.pause(pause):
        yield data
