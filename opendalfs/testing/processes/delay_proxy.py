"""The process behind `opendalfs.testing.delay_proxy`: relays HTTP/1.1, slower, and counts.

It stands in front of an S3 server on loopback and makes it as far away as a real one:

* a response's first byte leaves no earlier than ``latency`` seconds after the request's last;
* a connection carries at most ``bandwidth`` bytes a second, in either direction;
* every request is counted, with the bytes of its body and of its answer's.

The two cores that clients and server need stay theirs. On Linux bodies never enter Python:
`os.splice` moves them from socket to socket in the kernel, and the kernel paces them, too
(``SO_MAX_PACING_RATE``). A thread per connection then does nothing but wait. Elsewhere bodies are
copied and paced by sleeping, which costs more and measures the same.

Requests pass unchanged: the ``Host`` header is part of what S3 clients sign. Connecting costs
nothing extra. Orders come as JSON lines on standard input, answers go to standard output, and the
end of standard input ends the process, so that it never outlives whoever started it.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import Any

from opendalfs.testing.processes.proxy_connection import Gone, Head, Speed, Tally, Wire

HOST = "127.0.0.1"
BODILESS = {204, 304}


class Relay(threading.Thread):
    """Serves one client connection by one connection to the server."""

    def __init__(self, client: socket.socket, server: tuple[str, int], speed: Speed, tally: Tally) -> None:
        super().__init__(daemon=True)
        self._address = server
        self._speed = speed
        self._tally = tally
        self._client = Wire(client, speed)
        self._server: Wire | None = None

    def run(self) -> None:
        """Relay requests until either side is done."""
        self._tally.connected()
        try:
            while self._relay_one():
                pass
        except (Gone, OSError):
            pass
        finally:
            self._client.close()
            if self._server is not None:
                self._server.close()

    def _relay_one(self) -> bool:
        """Relay one request and its response; False when the connection ends with it."""
        request = Head.parse(self._client.read_until(b"\r\n\r\n"))
        method = request.first[0]
        with self._tally.request(method):
            server = self._ready_server()
            self._client.pacer.prepare()
            server.pacer.prepare()
            server.send(request.raw)
            refusal = self._relay_request_body(request, server)
            due = time.monotonic() + self._speed.latency
            response = refusal or self._read_response(server)
            time.sleep(max(0.0, due - time.monotonic()))
            return self._relay_response(method, response, server) and not (refusal or request.closes)

    def _ready_server(self) -> Wire:
        """Give the connection to the server; a new one if it let the last one go."""
        if self._server is not None and not self._server.is_idle_and_open():
            self._server.close()
            self._server = None
        if self._server is None:
            self._server = Wire(socket.create_connection(self._address), self._speed)
        return self._server

    def _relay_request_body(self, request: Head, server: Wire) -> Head | None:
        """Pass the body on; the answer, if the server refused before it saw the body."""
        if not request.chunked and not request.length:
            return None
        if "100-continue" in request.fields.get("expect", ""):
            answer = Head.parse(server.read_until(b"\r\n\r\n"))
            if answer.first[1] != "100":
                return answer
            self._client.send(answer.raw)

        def count(amount: int) -> None:
            self._tally.add(self._tally.received, request.first[0], amount)

        if request.chunked:
            self._client.pour_chunks(server, count)
        else:
            self._client.pour(server, request.length or 0, count)
        return None

    def _read_response(self, server: Wire) -> Head:
        while True:
            response = Head.parse(server.read_until(b"\r\n\r\n"))
            if not response.first[1].startswith("1"):
                return response
            self._client.send(response.raw)

    def _relay_response(self, method: str, response: Head, server: Wire) -> bool:
        status = int(response.first[1])
        if status >= 400:
            self._tally.add(self._tally.failures, str(status), 1)

        def count(amount: int) -> None:
            self._tally.add(self._tally.sent, method, amount)

        self._client.send(response.raw)
        if method == "HEAD" or status in BODILESS:
            return not response.closes
        if response.chunked:
            server.pour_chunks(self._client, count)
        elif response.length is None:
            server.pour_all(self._client, count)
            return False
        else:
            server.pour(self._client, response.length, count)
        return not response.closes


def _accept(listener: socket.socket, server: tuple[str, int], speed: Speed, tally: Tally) -> None:
    while True:
        client, _ = listener.accept()
        Relay(client, server, speed, tally).start()


def _obey(order: dict[str, Any], speed: Speed, tally: Tally) -> dict[str, Any]:
    """Carry out one order and give its answer."""
    if order["do"] == "set":
        speed.latency = order.get("latency", speed.latency)
        speed.bandwidth = order.get("bandwidth", speed.bandwidth)
    elif order["do"] == "reset":
        tally.reset()
    elif order["do"] == "report":
        return tally.report(order["settle"])
    return {}


def main(host: str, port: str, way: str) -> None:
    """Serve on a port of our choice, told in the first line of output, until input ends."""
    threading.stack_size(512 * 1024)  # a thread per connection, and there may be hundreds
    speed, tally = Speed(0.0, 0.0, portable=way == "portable"), Tally()
    listener = socket.create_server((HOST, 0), backlog=1024)
    arguments = (listener, (host, int(port)), speed, tally)
    threading.Thread(target=_accept, args=arguments, daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_obey(json.loads(line), speed, tally)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
