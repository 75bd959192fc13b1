"""Which request has which fault: counts requests, and keeps the connections that wait."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from opendalfs.testing.faults import Fault
from opendalfs.testing.processes.proxy_connection import Connection, ConnectionClosed
from opendalfs.testing.processes.s3_requests import S3Request


class Rule:
    """A fault, and the requests that it has counted."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.pages: dict[str, bytes] = {}  # of "list-repeated"
        self._seen = 0
        self._applied = 0
        self._random = random.Random(fault.seed)
        self._tokens = float(fault.burst)
        self._filled = time.monotonic()

    def applies(self, request: S3Request) -> bool:
        """Count a request; return whether it has the fault."""
        fault = self.fault
        if not fault.affects(request.kind, request.path):
            return False
        self._seen += 1
        if self._seen < fault.nth or (fault.times is not None and self._applied >= fault.times):
            return False
        if fault.fraction < 1 and self._random.random() >= fault.fraction:
            return False
        if fault.name == "throttle" and self._take_token():
            return False
        self._applied += 1
        return True

    def _take_token(self) -> bool:
        now = time.monotonic()
        self._tokens = min(self.fault.burst, self._tokens + (now - self._filled) * self.fault.rate)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class FaultRules:
    """The faults of a proxy, shared by all connections.

    Attributes
    ----------
    client : botocore.client.BaseClient, optional
        A client of the server, for faults that change objects or need other bytes.
    """

    def __init__(self) -> None:
        self.client: Any = None
        self._rules: list[Rule] = []
        self._requests: Counter[str] = Counter()
        self._injected = 0
        self._held: set[Connection] = set()
        self._lock = threading.Lock()

    def replace(self, faults: Iterable[Fault]) -> None:
        """Replace all faults, set the counters to zero and drop the connections that wait."""
        with self._lock:
            self._rules = [Rule(fault) for fault in faults]
            self._requests.clear()
            self._injected = sum(rule.fault.of_endpoint for rule in self._rules)
            for connection in self._held:
                connection.shut()

    def match(self, request: S3Request) -> tuple[Rule | None, Rule | None]:
        """Count a request; return the rule that delays it and the rule of its other fault."""
        slow = None
        with self._lock:
            self._requests[request.kind] += 1
            for rule in self._rules:
                if rule.fault.name == "black-hole":
                    return None, rule
                if not rule.applies(request):
                    continue
                self._injected += 1
                if rule.fault.name != "slow":
                    return slow, rule
                slow = rule
        return slow, None

    def report(self) -> dict[str, Any]:
        """Return the number of requests of each kind, and of faults injected, since `replace`."""
        with self._lock:
            return {"requests": self._requests, "injected": self._injected}

    def hold(self, rule: Rule, client: Connection, seconds: float | None) -> None:
        """Wait `seconds`, None for ever; raise `ConnectionClosed` if the client or `replace` ends it."""
        with self._lock:
            if rule not in self._rules:
                raise ConnectionClosed
            self._held.add(client)
        try:
            if client.closes_within(seconds):
                raise ConnectionClosed
        finally:
            with self._lock:
                self._held.discard(client)
