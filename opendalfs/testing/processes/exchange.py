"""One request of a client and its response, step by step."""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from opendalfs.testing.processes.proxy_connection import Connection, Head, Speed, Traffic
from opendalfs.testing.processes.s3_requests import S3Request, classify

BODILESS = {204, 304}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Route(NamedTuple):
    """What all connections of a proxy share."""

    server: tuple[str, int]
    speed: Speed
    traffic: Traffic


class Link:
    """A client connection, and the connection to the server that serves it."""

    def __init__(self, client: socket.socket, route: Route) -> None:
        self.route = route
        self.client = Connection(client, route.speed)
        self._server: Connection | None = None

    def server(self) -> Connection:
        """Return the connection to the server; a new one if the server closed the last one."""
        if self._server is not None and not self._server.is_idle_and_open():
            self.drop_server()
        if self._server is None:
            self._server = Connection(socket.create_connection(self.route.server), self.route.speed)
        return self._server

    def drop_server(self) -> None:
        """Close the connection to the server."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Close both connections."""
        self.client.close()
        self.drop_server()


class Exchange:
    """A request whose head has been read, and its response.

    Every method that ends the exchange returns whether the connection can be used for another one.
    """

    def __init__(self, link: Link, head: Head) -> None:
        self.link = link
        self.client = link.client
        self.head = head
        self.request: S3Request = classify(head)
        self._slower = link.route.speed.draw()
        if self._slower > 1:
            self.traffic.slowed()
        self.client.pacer.prepare(self._slower)
        self._refused = False
        self._body_read = not head.chunked and not head.length
        self._due = 0.0

    @property
    def traffic(self) -> Traffic:
        """The counters."""
        return self.link.route.traffic

    @property
    def keeps(self) -> bool:
        """Whether the client may send another request."""
        return not self._refused and not self.head.closes

    # ------------------------------------------------------------------ the request

    def send_head(self) -> Connection:
        """Send the head to the server; return the connection."""
        server = self.link.server()
        server.pacer.prepare(self._slower)
        server.send(self.head.raw)
        return server

    def forward(self) -> tuple[Head, Connection]:
        """Send the request to the server; return the head of the response and the server's connection."""
        server = self.send_head()
        refusal = self.continue_from(server) if not self._body_read else None
        if refusal is not None:
            self._refused = True
        elif self.head.chunked:
            self.client.relay_chunks(server, self.count_received)
        else:
            self.client.relay(server, self.head.length or 0, self.count_received)
        self._body_read = True
        self.set_due()
        return refusal or self._response_head(server), server

    def continue_from(self, server: Connection) -> Head | None:
        """Relay ``100 Continue`` if the client waits for it; return the response of a server that refuses."""
        if "100-continue" not in self.head.fields.get("expect", ""):
            return None
        answer = Head.parse(server.read_until(b"\r\n\r\n"))
        if answer.first[1] != "100":
            return answer
        self.client.send(answer.raw)
        return None

    def skip_body(self) -> None:
        """Read the body of the request and drop it."""
        if self._body_read:
            return
        if "100-continue" in self.head.fields.get("expect", ""):
            self.client.send(CONTINUE)
        if self.head.chunked:
            for _ in self.client.read_chunks():
                pass
        else:
            self.client.skip(self.head.length or 0)
        self._body_read = True

    def count_received(self, amount: int) -> None:
        """Count bytes of the body of the request."""
        self.traffic.add(self.traffic.received, self.head.first[0], amount)

    # ------------------------------------------------------------------ the response

    def set_due(self) -> None:
        """Set the time of the first byte of the response: the latency from now."""
        self._due = time.monotonic() + self.link.route.speed.latency * self._slower

    def send_response(self, response: Head) -> None:
        """Send the head of a response, when it is due."""
        if not self._due:
            self.set_due()
        time.sleep(max(0.0, self._due - time.monotonic()))
        status = int(response.first[1])
        if status >= 400:
            self.traffic.add(self.traffic.failures, str(status), 1)
        self.client.send(response.raw)

    def respond(self, status: str, body: bytes, **fields: str | int | None) -> bool:
        """Respond instead of the server."""
        self.skip_body()
        sent = b"" if self.head.first[0] == "HEAD" else body
        first = f"HTTP/1.1 {status}"
        head = Head.parse(f"{first}\r\n\r\n".encode()).edited(None, content_length=len(body), **fields)
        self.send_response(head)
        self.client.send(sent)
        self.count_sent(len(sent))
        return self.keeps

    def relay(self, response: Head, server: Connection) -> bool:
        """Relay a response of the server."""
        self.send_response(response)
        if not self.has_body(response):
            return self.keeps and not response.closes
        if response.chunked:
            server.relay_chunks(self.client, self.count_sent)
        elif response.length is None:
            server.relay_to_end(self.client, self.count_sent)
            return False
        else:
            server.relay(self.client, response.length, self.count_sent)
        return self.keeps and not response.closes

    def has_body(self, response: Head) -> bool:
        """Whether a response has a body."""
        return self.head.first[0] != "HEAD" and int(response.first[1]) not in BODILESS

    def with_length(self, response: Head, server: Connection) -> Head:
        """Return the head of a response whose body is not chunked: such a body is read, and put back."""
        if not self.has_body(response) or not response.chunked:
            return response
        body = b"".join(server.read_chunks())
        server.unread(body)
        return response.edited(transfer_encoding=None, content_length=len(body))

    def read_body(self, response: Head, server: Connection) -> bytes:
        """Read the body of a response."""
        if not self.has_body(response):
            return b""
        if response.chunked:
            return b"".join(server.read_chunks())
        return server.read_exactly(response.length or 0)

    def count_sent(self, amount: int) -> None:
        """Count bytes of the body of the response."""
        self.traffic.add(self.traffic.sent, self.head.first[0], amount)

    def _response_head(self, server: Connection) -> Head:
        while True:
            response = Head.parse(server.read_until(b"\r\n\r\n"))
            if not response.first[1].startswith("1"):
                return response
            self.client.send(response.raw)
