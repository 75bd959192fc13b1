"""A gateway, and a mount of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from opendalfs_gateway.server import Gateway
from tests.integrations.gateway.client import Mounted


@pytest.fixture(scope="module")
def server() -> Iterator[Gateway]:
    found = Gateway()
    yield found
    found.stop()


@pytest.fixture
def mounted(server: Gateway) -> Mounted:
    return Mounted(server, f"gateway-{os.urandom(8).hex()}")
