"""The thread of one client connection: relays its requests, with the faults that they have."""

from __future__ import annotations

import socket
import threading

from opendalfs.testing.processes.exchange import Exchange, Link, Route
from opendalfs.testing.processes.fault_actions import inject
from opendalfs.testing.processes.fault_rules import FaultRules
from opendalfs.testing.processes.proxy_connection import ConnectionClosed, Head


class Relay(threading.Thread):
    """Serves one client connection by one connection to the server."""

    def __init__(self, client: socket.socket, route: Route, rules: FaultRules) -> None:
        super().__init__(daemon=True)
        self._link = Link(client, route)
        self._rules = rules

    def run(self) -> None:
        """Relay requests until either end closes."""
        self._link.route.traffic.connected()
        try:
            while self._relay_one():
                pass
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._link.close()

    def shut(self) -> None:
        """Close the client's connection, from any thread."""
        self._link.client.shut()

    def _relay_one(self) -> bool:
        """Relay one request and its response; False when the connection ends with it."""
        client = self._link.client
        head = Head.parse(client.read_until(b"\r\n\r\n"))
        with self._link.route.traffic.request(head.first[0]):
            exchange = Exchange(self._link, head)
            slow, rule = self._rules.match(exchange.request)
            if slow is None and rule is None:
                return exchange.relay(*exchange.forward())
            return inject(exchange, self._rules, slow, rule)
