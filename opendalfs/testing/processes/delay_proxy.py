"""The process of `opendalfs.testing.DelayProxy`: relays HTTP/1.1 with a delay, and counts.

* The first byte of a response leaves at least ``latency`` seconds after the last byte of its request.
* A connection carries at most ``bandwidth`` bytes per second, in each direction.
* A random share ``tail`` of the requests is ``factor`` times slower in both.
* Every request is counted, with the bytes of its body and of the body of its response.

The proxy uses little processor time, which clients and server need. On Linux, `os.splice` moves bodies from
socket to socket in the kernel, which also paces them (``SO_MAX_PACING_RATE``); a thread per connection only
waits. Elsewhere bodies are copied, and paced by sleeping.

Requests pass unchanged, because S3 clients sign the ``Host`` header. Connecting is not delayed. Commands are
JSON lines on standard input, with one line on standard output for each. The end of standard input ends the
process, so that it never outlives the process that started it.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import Any

from opendalfs.testing.processes.proxy_connection import Connection, ConnectionClosed, Head, Speed, Traffic

HOST = "127.0.0.1"
BODILESS = {204, 304}


class Relay(threading.Thread):
    """Serves one client connection by one connection to the server."""

    def __init__(
        self, client: socket.socket, server: tuple[str, int], speed: Speed, traffic: Traffic
    ) -> None:
        super().__init__(daemon=True)
        self._address = server
        self._speed = speed
        self._traffic = traffic
        self._client = Connection(client, speed)
        self._server: Connection | None = None

    def run(self) -> None:
        """Relay requests until either end closes."""
        self._traffic.connected()
        try:
            while self._relay_one():
                pass
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._client.close()
            if self._server is not None:
                self._server.close()

    def _relay_one(self) -> bool:
        """Relay one request and its response; False when the connection ends with it."""
        request = Head.parse(self._client.read_until(b"\r\n\r\n"))
        method = request.first[0]
        with self._traffic.request(method):
            server = self._ready_server()
            slower = self._speed.draw()
            if slower > 1:
                self._traffic.slowed()
            self._client.pacer.prepare(slower)
            server.pacer.prepare(slower)
            server.send(request.raw)
            refusal = self._relay_request_body(request, server)
            due = time.monotonic() + self._speed.latency * slower
            response = refusal or self._read_response(server)
            time.sleep(max(0.0, due - time.monotonic()))
            return self._relay_response(method, response, server) and not (refusal or request.closes)

    def _ready_server(self) -> Connection:
        """Return the connection to the server; a new one if the server closed the last one."""
        if self._server is not None and not self._server.is_idle_and_open():
            self._server.close()
            self._server = None
        if self._server is None:
            self._server = Connection(socket.create_connection(self._address), self._speed)
        return self._server

    def _relay_request_body(self, request: Head, server: Connection) -> Head | None:
        """Relay the body; return the response if the server refused before the body."""
        if not request.chunked and not request.length:
            return None
        if "100-continue" in request.fields.get("expect", ""):
            answer = Head.parse(server.read_until(b"\r\n\r\n"))
            if answer.first[1] != "100":
                return answer
            self._client.send(answer.raw)

        def count(amount: int) -> None:
            self._traffic.add(self._traffic.received, request.first[0], amount)

        if request.chunked:
            self._client.relay_chunks(server, count)
        else:
            self._client.relay(server, request.length or 0, count)
        return None

    def _read_response(self, server: Connection) -> Head:
        while True:
            response = Head.parse(server.read_until(b"\r\n\r\n"))
            if not response.first[1].startswith("1"):
                return response
            self._client.send(response.raw)

    def _relay_response(self, method: str, response: Head, server: Connection) -> bool:
        status = int(response.first[1])
        if status >= 400:
            self._traffic.add(self._traffic.failures, str(status), 1)

        def count(amount: int) -> None:
            self._traffic.add(self._traffic.sent, method, amount)

        self._client.send(response.raw)
        if method == "HEAD" or status in BODILESS:
            return not response.closes
        if response.chunked:
            server.relay_chunks(self._client, count)
        elif response.length is None:
            server.relay_to_end(self._client, count)
            return False
        else:
            server.relay(self._client, response.length, count)
        return not response.closes


def _accept(listener: socket.socket, server: tuple[str, int], speed: Speed, traffic: Traffic) -> None:
    while True:
        client, _ = listener.accept()
        Relay(client, server, speed, traffic).start()


def _execute(command: dict[str, Any], speed: Speed, traffic: Traffic) -> dict[str, Any]:
    """Execute one command and return its result."""
    if command["do"] == "set":
        for name in ("latency", "bandwidth", "tail", "factor"):
            setattr(speed, name, command[name])
    elif command["do"] == "reset":
        traffic.reset()
    elif command["do"] == "report":
        return traffic.report(command["settle"])
    return {}


def main(host: str, port: str, mode: str) -> None:
    """Serve on a free port, which the first line of output names, until the input ends."""
    threading.stack_size(512 * 1024)  # a thread per connection, and there may be hundreds
    speed, traffic = Speed(0.0, 0.0, portable=mode == "portable"), Traffic()
    listener = socket.create_server((HOST, 0), backlog=1024)
    arguments = (listener, (host, int(port)), speed, traffic)
    threading.Thread(target=_accept, args=arguments, daemon=True).start()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_execute(json.loads(line), speed, traffic)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
