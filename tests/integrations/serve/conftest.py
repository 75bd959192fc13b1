"""Servers that `opendalfs.serve` has started."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import opendalfs
from opendalfs_gateway import S3Endpoint
from tests.integrations.serve.client import Raw


@pytest.fixture(scope="module")
def server() -> Iterator[S3Endpoint]:
    """Yield a writable server over a directory in memory."""
    root = f"serve-{os.urandom(6).hex()}"
    with opendalfs.serve(f"opendal+memory://{root}/served", writable=True) as found:
        yield found


@pytest.fixture
def raw(server: S3Endpoint) -> Raw:
    return Raw(server)
