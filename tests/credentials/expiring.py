"""A server that refuses keys after some requests, in front of SeaweedFS, and a provider of such keys."""

from __future__ import annotations

import re
import threading
import time
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from opendalfs.testing import Request, Response, S3Server, ScriptedServer

_EXPIRED = (
    b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>"
    b"</Error>"
)


class Keys:
    """Temporary keys that a server accepts until they have expired; callable as a provider.

    Parameters
    ----------
    server : S3Server
        The server to forward requests to.
    most : int
        Requests that one key is good for.
    lifetime : float, optional
        Seconds until a key expires, as the provider says; None if it does not say.
    """

    def __init__(self, server: S3Server, most: int = 10, lifetime: float | None = None) -> None:
        self.server = server
        self.most = most
        self.lifetime = lifetime
        self.delay = 0.0
        self.blocked = threading.Event()
        self.blocked.set()
        self.issued = 0
        self.issued_at: list[float] = []
        self.refused = 0
        self.failure: BaseException | None = None
        self._uses: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self) -> tuple[dict[str, str], float | None]:
        time.sleep(self.delay)
        self.blocked.wait(60)
        if self.failure is not None:
            raise self.failure
        with self._lock:
            self.issued += 1
            self.issued_at.append(time.time())
            token = f"hush-token-{self.issued}"
            end = None if self.lifetime is None else time.time() + self.lifetime
            self._uses[token] = 0
            self._ends[token] = end or float("inf")
        return {"key": self.server.access_key, "secret": self.server.secret_key, "token": token}, end

    def expire(self) -> None:
        """Refuse all keys so far."""
        with self._lock:
            self._uses = dict.fromkeys(self._uses, self.most)

    def respond(self, request: Request) -> Response:
        """Forward a request of a valid key, and refuse others as S3 does."""
        token = request.headers.get("x-amz-security-token", "")
        with self._lock:
            valid = token in self._uses and self._uses[token] < self.most and time.time() < self._ends[token]
            if valid:
                self._uses[token] += 1
            else:
                self.refused += 1
        if not valid:
            return Response(400, {}, b"" if request.method == "HEAD" else _EXPIRED)
        return _forward(request, self.server)

    def options(self, front: ScriptedServer) -> dict[str, Any]:
        """Return the options of a filesystem."""
        return {
            "endpoint_url": front.endpoint,
            "region": self.server.region,
            "credential_provider": self,
            "skip_instance_cache": True,
        }


def _forward(request: Request, server: S3Server) -> Response:
    """Sign a request again, for the server behind, which knows no tokens."""
    kept = {
        k: v
        for k, v in request.headers.items()
        if not re.match("authorization|x-amz-(date|security|content-sha256)|host|connection", k)
    }
    path, _, query = request.target.partition("?")
    # As the signature of botocore needs it.
    pairs = urlencode(parse_qsl(query, keep_blank_values=True), quote_via=quote, safe="-_.~")
    url = f"{server.endpoint}{path}?{pairs}".rstrip("?")
    request.target = url.removeprefix(server.endpoint)
    signed = AWSRequest(request.method, url, data=request.body, headers={**kept})
    S3SigV4Auth(Credentials(server.access_key, server.secret_key), "s3", server.region).add_auth(signed)
    request.headers = {**dict(signed.headers), "host": urlsplit(server.endpoint).netloc}
    return request.forward(server.endpoint)
