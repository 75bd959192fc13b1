"""A proxy that adds the latency and the bandwidth of a distant server, and counts requests.

::

    with SeaweedFS() as server, DelayProxy(server.endpoint) as proxy:
        options = proxy.through(server.options)
        proxy.set(latency=0.030, bandwidth=90e6)
        ...
        print(proxy.counters().requests)

The proxy is the process `opendalfs.testing.processes.proxy`, which explains the method.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

_ROOT = Path(__file__).parents[2]
# A reader may leave requests in flight that nobody waits for; they are counted too.
SETTLE_SECONDS = 5.0


@dataclass(frozen=True)
class Counters:
    """Requests and bytes that passed the proxy since the last reset, by HTTP method.

    `slow` counts the requests of the tail; see `DelayProxy.set`.

    Examples
    --------
    >>> from opendalfs.testing import DelayProxy, s3_server
    >>> with s3_server() as server, DelayProxy(server.endpoint) as proxy:
    ...     status = server.client_at(proxy.endpoint).list_buckets()
    ...     counters = proxy.counters()
    >>> counters.requests, dict(counters.requests_by_method)
    (1, {'GET': 1})
    """

    requests_by_method: Mapping[str, int]
    sent_by_method: Mapping[str, int]
    received_by_method: Mapping[str, int]
    failures_by_status: Mapping[str, int]
    connections: int
    peak: int
    slow: int
    cpu: float

    @property
    def requests(self) -> int:
        """Number of requests."""
        return sum(self.requests_by_method.values())

    @property
    def sent(self) -> int:
        """Bytes of all bodies that the server sent."""
        return sum(self.sent_by_method.values())

    @property
    def received(self) -> int:
        """Bytes of all bodies that the server received."""
        return sum(self.received_by_method.values())


class DelayProxy:
    """A proxy process in front of an HTTP server. Without latency and bandwidth it only counts.

    Parameters
    ----------
    endpoint : str
        URL of the server, ``http://`` only.
    latency : float
        Least number of seconds from the last byte of a request to the first byte of its response.
    bandwidth : float
        Bytes per second that a connection carries at most; 0 is no limit.
    portable : bool
        Copy and pace in Python instead of the Linux kernel. This uses more processor time.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import DelayProxy, s3_server
    >>> with s3_server() as server, DelayProxy(server.endpoint, latency=0.030, bandwidth=90e6) as proxy:
    ...     fs = opendalfs.filesystem("s3", **proxy.through(server.options))
    ...     fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
    ...     proxy.counters().requests_by_method["PUT"]
    1
    """

    def __init__(
        self,
        endpoint: str,
        latency: float = 0.0,
        bandwidth: float = 0.0,
        portable: bool = sys.platform != "linux",
    ) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"unsupported endpoint {endpoint!r}: the proxy needs an http:// URL")
        mode = "portable" if portable else "kernel"
        self._arguments = [parts.hostname, str(parts.port or 80), mode]
        self._speed = (latency, bandwidth)
        self._process: subprocess.Popen[str] | None = None
        self.endpoint = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "opendalfs.testing.processes.proxy", *self._arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.endpoint = f"http://127.0.0.1:{self._read_result()['port']}"
        self.set(*self._speed)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()  # it has nothing to clean up
            self._process.communicate()
            self._process = None

    def through(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options of a client that connects through the proxy.

        Parameters
        ----------
        options : mapping
            Options with an ``endpoint_url``.

        Returns
        -------
        dict
            The options with the address of the proxy.
        """
        return {**options, "endpoint_url": self.endpoint}

    def set(self, latency: float, bandwidth: float, tail: float = 0.0, factor: float = 20.0) -> None:
        """Change latency and bandwidth, from the next request on.

        Parameters
        ----------
        latency : float
            Least number of seconds from the last byte of a request to the first byte of its response.
        bandwidth : float
            Bytes per second that a connection carries at most; 0 is no limit.
        tail : float
            Share of requests that are slow, 0 to 1, chosen at random with a fixed seed.
        factor : float
            How many times the latency of a slow request is longer, and its bandwidth smaller.
        """
        self._command(do="set", latency=latency, bandwidth=bandwidth, tail=tail, factor=factor)

    def reset(self) -> None:
        """Set the counters to zero."""
        self._command(do="reset")

    def counters(self, settle: float = SETTLE_SECONDS) -> Counters:
        """Return the counters.

        Parameters
        ----------
        settle : float
            Seconds to wait at most for requests in flight.

        Returns
        -------
        Counters
            Counters since the last reset; ``cpu`` is the processor time of the proxy since its start.
        """
        report = self._command(do="report", settle=settle)
        return Counters(
            requests_by_method=report["requests"],
            sent_by_method=report["sent"],
            received_by_method=report["received"],
            failures_by_status=report["failures"],
            connections=report["connections"],
            peak=report["peak"],
            slow=report["slow"],
            cpu=report["cpu"],
        )

    def _command(self, **command: Any) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read_result()

    def _read_result(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the proxy ended: exit status {self._process.wait()}")
        result: dict[str, Any] = json.loads(line)
        return result
