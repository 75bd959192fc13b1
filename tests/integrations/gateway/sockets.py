"""Raw connections to the gateway."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted

PATIENCE = 20.0
"""Seconds after which a test gives up; far more than any of what it waits for takes."""


@pytest.fixture
def server() -> Iterator[Gateway]:
    found = Gateway()
    yield found
    found.stop()


def port_of(server: Gateway) -> int:
    return int(server.endpoint.rpartition(":")[2])


def connect(server: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(server)), timeout=PATIENCE)


def head_of(mounted: Mounted, key: str = "a", method: str = "GET", *headers: str) -> bytes:
    """Make the first part of a request that holds the key."""
    credential = mounted.server.storage_options["aws_access_key_id"]
    lines = (
        f"{method} /{mounted.bucket}/{mounted.prefix}{key} HTTP/1.1",
        "Host: x",
        f"Authorization: AWS4-HMAC-SHA256 Credential={credential}/20260101/x/s3/aws4_request",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def status_after(connection: socket.socket, request: bytes) -> int:
    connection.sendall(request)
    answer = connection.recv(65536)
    return int(answer.split()[1]) if answer else 0
