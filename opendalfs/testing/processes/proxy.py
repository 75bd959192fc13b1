"""The process of `DelayProxy` and `FaultProxy`: relays HTTP/1.1 with a delay and faults, and counts.

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
import sys
import threading
from typing import Any

from opendalfs.testing.faults import Fault
from opendalfs.testing.processes.exchange import Route
from opendalfs.testing.processes.fault_actions import CLIENT_FAULTS
from opendalfs.testing.processes.fault_rules import FaultRules
from opendalfs.testing.processes.listener import Listener
from opendalfs.testing.processes.proxy_connection import Speed, Traffic
from opendalfs.testing.processes.relay import Relay


class Proxy:
    """The state of the process: its connections, speed, counters and faults."""

    def __init__(self, host: str, port: int, portable: bool) -> None:
        self._route = Route((host, port), Speed(0.0, 0.0, portable), Traffic())
        self._rules = FaultRules()
        self._listener = Listener(lambda client: Relay(client, self._route, self._rules))
        self.port = self._listener.port

    def execute(self, command: dict[str, Any]) -> dict[str, Any]:
        """Execute one command and return its result."""
        traffic = self._route.traffic
        if command["do"] == "set":
            for name in ("latency", "bandwidth", "tail", "factor"):
                setattr(self._route.speed, name, command[name])
        elif command["do"] == "reset":
            traffic.reset()
        elif command["do"] == "inject":
            self._inject([Fault(**fields) for fields in command["faults"]], command["keys"])
        elif command["do"] == "faults":
            return self._rules.report()
        elif command["do"] == "report":
            return traffic.report(command["settle"])
        return {}

    def _inject(self, faults: list[Fault], keys: dict[str, str]) -> None:
        names = {fault.name for fault in faults}
        if names & CLIENT_FAULTS and self._rules.client is None:
            from opendalfs.testing.s3 import s3_client  # slow, so only where it is needed

            host, port = self._route.server
            self._rules.client = s3_client(f"http://{host}:{port}", **keys)
        self._listener.open()
        self._rules.replace(faults)
        if names & {"refused", "unreachable"}:
            self._listener.close(drop="unreachable" in names)


def main(host: str, port: str, mode: str) -> None:
    """Serve on a free port, which the first line of output names, until the input ends."""
    threading.stack_size(512 * 1024)  # a thread per connection, and there may be hundreds
    proxy = Proxy(host, int(port), mode == "portable")
    print(json.dumps({"port": proxy.port}), flush=True)
    for line in sys.stdin:
        print(json.dumps(proxy.execute(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
