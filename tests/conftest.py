"""What every test may ask for: storage servers, one of each per test process."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.servers import Azurite, GcsEmulator, Moto, S3Server, Unavailable, s3_server_from_env


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Give SeaweedFS, or the user's own server where the environment names one."""
    with s3_server_from_env() as server:
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Moto]:
    """Give moto's S3: the same protocol with flat keys."""
    with Moto() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsEmulator]:
    """Give the emulator of Google Cloud Storage."""
    with GcsEmulator() as server:
        yield server


@pytest.fixture(scope="session")
def azure_server() -> Iterator[Azurite]:
    """Give Azurite, which only npm can install."""
    server = Azurite()
    try:
        server.start()
    except Unavailable as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture
def prefix(s3_server: S3Server) -> Iterator[str]:
    """Give a fresh ``bucket/prefix`` of the S3 server, emptied afterwards."""
    name = f"test-{uuid4().hex[:12]}"
    yield f"{s3_server.bucket}/{name}"
    s3_server.remove_prefix(f"{name}/")


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[str]:
    """Give a fresh bucket of the S3 server, removed afterwards."""
    name = f"test-{uuid4().hex[:12]}"
    s3_server.make_bucket(name)
    yield name
    s3_server.remove_prefix("", bucket=name)
    s3_server.client.delete_bucket(Bucket=name)
