"""A proxy that injects faults into requests to a real S3 server.

::

    with s3_server() as server, FaultProxy(server.endpoint) as proxy:
        fs = opendalfs.filesystem("s3", **proxy.through(server.options))
        proxy.inject(Fault("get", "status-503", nth=2))
        ...
        print(proxy.requests()["get"], proxy.injected())

It is the process of `DelayProxy`, so latency and bandwidth can be combined with faults.
"""

from __future__ import annotations

import sys
from collections import Counter

from opendalfs.testing.delay_proxy import DelayProxy
from opendalfs.testing.faults import Fault
from opendalfs.testing.s3 import ACCESS_KEY, REGION, SECRET_KEY

__all__ = ["FaultProxy"]


class FaultProxy(DelayProxy):
    """A proxy process in front of an S3 server that injects faults. Without faults it only delays and counts.

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
    access_key, secret_key, region : str
        Credentials of the proxy itself, for faults that change an object or send other bytes. The defaults
        are those of `s3_server`.

    Examples
    --------
    >>> from opendalfs.testing import Fault, FaultProxy, s3_server
    >>> with s3_server() as server, FaultProxy(server.endpoint) as proxy:
    ...     proxy.inject(Fault("get", "status-503"))
    """

    def __init__(
        self,
        endpoint: str,
        latency: float = 0.0,
        bandwidth: float = 0.0,
        portable: bool = sys.platform != "linux",
        *,
        access_key: str = ACCESS_KEY,
        secret_key: str = SECRET_KEY,
        region: str = REGION,
    ) -> None:
        super().__init__(endpoint, latency, bandwidth, portable)
        self._keys = {"access_key": access_key, "secret_key": secret_key, "region": region}

    def inject(self, *faults: Fault) -> None:
        """Replace all faults, set their counters to zero, and drop the connections that wait.

        The first fault that affects a request applies; after ``slow``, the next one can apply as well.

        Parameters
        ----------
        *faults : Fault
            The faults.
        """
        self._command(do="inject", faults=[fault.to_dict() for fault in faults], keys=self._keys)

    def clear(self) -> None:
        """Remove all faults, set their counters to zero, and drop the connections that wait."""
        self.inject()

    def requests(self) -> Counter[str]:
        """Return the number of requests of each kind since the last `inject` or `clear`.

        Returns
        -------
        Counter
            Requests that have arrived, by kind (`KINDS`).
        """
        return Counter(self._command(do="faults")["requests"])

    def injected(self) -> int:
        """Return the number of faults since the last `inject` or `clear`.

        Returns
        -------
        int
            Affected requests, and 1 for each fault of the whole endpoint.
        """
        count: int = self._command(do="faults")["injected"]
        return count
