"""Raw requests through the fault proxy, which show how each response ended."""

from __future__ import annotations

import http.client
import socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from opendalfs.testing import FaultProxy, S3Server

__all__ = ["ANY", "BODY", "HALF", "PATIENCE", "SHORT_PATIENCE", "Reply", "Requests", "connect"]

BODY = bytes(range(256)) * 40
HALF = len(BODY) // 2
PATIENCE = 30.0
SHORT_PATIENCE = 0.2  # where nothing will come


ANY = {
    "get": ("GET", ""),
    "head": ("HEAD", ""),
    "list": ("GET", "?list-type=2"),
    "put": ("PUT", ""),
    "create": ("POST", "?uploads="),
    "part": ("PUT", "?partNumber=1&uploadId=0"),
    "complete": ("POST", "?uploadId=0"),
    "abort": ("DELETE", "?uploadId=0"),
    "copy": ("PUT", ""),
    "delete": ("DELETE", ""),
    "delete-many": ("POST", "?delete"),
    "other": ("GET", "?location"),
}


class Reply(NamedTuple):
    """What a client received, and how the response ended."""

    status: int
    headers: dict[str, str]
    body: bytes
    end: str


class Requests:
    """Raw requests through the proxy, signed, about one object."""

    def __init__(self, server: S3Server, proxy: FaultProxy, bucket: str, start: str) -> None:
        self.server = server.client
        self.client = server.client_at(proxy.endpoint)
        self.place = {"Bucket": bucket, "Key": f"{start}/a"}
        self.start = f"{start}/"
        self.silent_after: int | None = None  # bytes of the body after which nothing is expected
        self.address = urlsplit(proxy.endpoint).netloc
        self.server.put_object(**self.place, Body=BODY)

    def stored(self) -> bytes | None:
        """Return the object, read without the proxy; None if there is none."""
        try:
            return bytes(self.server.get_object(**self.place)["Body"].read())
        except ClientError:
            return None

    def get(self, span: str | None = None) -> Reply:
        return self.send("GET", "get_object", {"Range": f"bytes={span}"} if span else {}, **self.place)

    def put(self, body: bytes) -> Reply:
        return self.send("PUT", "put_object", {}, body, **self.place)

    def list(self, **options: Any) -> Reply:
        where = {"Bucket": self.place["Bucket"], "Prefix": self.start}
        return self.send("GET", "list_objects_v2", {}, **where, **options)

    def any(self, kind: str) -> Reply:
        """Send an unsigned request of a kind, for a proxy that responds itself."""
        method, query = ANY[kind]
        bucket, key = self.place.values()
        path = f"/{bucket}" if kind in ("list", "delete-many", "other") else f"/{bucket}/{key}"
        headers = {"x-amz-copy-source": "x/y"} if kind == "copy" else {}
        return self.ask(method, path + query, headers, b"body" if method in ("PUT", "POST") else b"")

    def send(
        self, method: str, operation: str, headers: dict[str, str], body: bytes = b"", **parameters: Any
    ) -> Reply:
        """Send a signed request."""
        url = self.client.generate_presigned_url(operation, Params=parameters)
        return self.ask(method, url.partition(self.address)[2], headers, body)

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        patience = SHORT_PATIENCE if self.silent_after == 0 else PATIENCE
        connection = http.client.HTTPConnection(self.address, timeout=patience)
        status, found, received, end = 0, {}, b"", "complete"
        try:
            connection.request(method, target, body or None, headers)
            response = connection.getresponse()
            status, found = response.status, {k.lower(): v for k, v in response.getheaders()}
            while piece := response.read1():
                received += piece
                if len(received) == self.silent_after:
                    connection.sock.settimeout(SHORT_PATIENCE)
            if response.length:
                end = "short"
        except http.client.IncompleteRead:
            end = "short"
        except (ConnectionError, http.client.RemoteDisconnected):
            end = "reset"
        except TimeoutError:
            end = "timeout"
        finally:
            connection.close()
        return Reply(status, found, received, end)


def connect(proxy: FaultProxy) -> str:
    host, _, port = urlsplit(proxy.endpoint).netloc.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=SHORT_PATIENCE).close()
    except TimeoutError:
        return "timeout"
    except ConnectionRefusedError:
        return "refused"
    return "connected"
