"""A local HTTP server that records what it is sent and serves nothing: for who gets which credentials."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["Capture", "Request"]


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """All of it, to look for secrets in."""
        headers = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"{self.method} {self.target}\n{headers}\n{self.body.decode(errors='replace')}"


Answer = Callable[[Request], tuple[int, bytes]]


class Capture:
    """Records requests; answers 404 unless told otherwise.

    Parameters
    ----------
    answer : callable, optional
        From a request to status and body.
    """

    def __init__(self, answer: Answer | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        capture = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                if self.rfile.peek(1)[:1] == b"\x16":  # type: ignore[attr-defined]
                    # TLS, which is not spoken here.
                    self.close_connection = True
                    return
                super().handle_one_request()

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body)
                capture.requests.append(request)
                status, data = answer(request) if answer else (404, b"")
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PROPFIND = _take

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def verify_request(self, *args: Any) -> bool:
                capture.connections += 1
                return True

            def handle_error(self, *args: Any) -> None:
                # A client that speaks TLS to us, or leaves early, is no concern of the test's output.
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self) -> str:
        """Name and port."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """As an endpoint."""
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
