"""Storage servers for all tests, one of each per test process."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from typing import TypeVar
from uuid import uuid4

import pytest
from hypothesis import settings

from opendalfs import testing
from opendalfs.storage import hedge_budget
from opendalfs.testing import (
    Apache,
    Azurite,
    GcsEmulator,
    MariaDB,
    Memcached,
    Moto,
    Nginx,
    PostgreSQL,
    Pyftpdlib,
    Rclone,
    Redis,
    S3Server,
    Server,
    ServerUnavailable,
    Vsftpd,
    WsgiDav,
)

S = TypeVar("S", bound=Server)

# A loaded machine is no failure; pytest-timeout ends what hangs.
settings.register_profile("opendalfs", deadline=None)
settings.register_profile("fuzz", deadline=None, print_blob=True)
settings.load_profile("opendalfs")


_OF_THE_SYSTEM = {"azure_server", "memcached_server", "mysql_server", "postgresql_server", "redis_server"}


def pytest_configure() -> None:
    # In the background of a shell SIGINT is ignored, also in the processes that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave modules and tests out of garbage collection, which took half a second each time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Collect them again, as DuckDB reports what is left at the exit."""
    gc.unfreeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Send no late request again but in tests of just that: on a busy machine any may be late."""
    hedge_budget._SAVED = 4.0 if item.get_closest_marker("hedges") else 0.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests whose server the operating system or npm installs."""
    for item in items:
        if _OF_THE_SYSTEM & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Yield SeaweedFS, or the server that the environment names."""
    with testing.s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Moto]:
    """Yield the S3 server of moto, which has flat keys."""
    with Moto() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsEmulator]:
    """Yield the emulator of Google Cloud Storage."""
    with GcsEmulator() as server:
        yield server


@pytest.fixture(scope="session")
def azure_server() -> Iterator[Azurite]:
    """Yield Azurite, which npm installs."""
    yield from _started(Azurite())


@pytest.fixture(scope="session")
def wsgidav_server() -> Iterator[WsgiDav]:
    """Start WsgiDAV."""
    yield from _started(WsgiDav())


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[Rclone]:
    """Start rclone's WebDAV server, where rclone is installed."""
    yield from _started(Rclone())


@pytest.fixture(scope="session")
def nginx_server() -> Iterator[Nginx]:
    """Start nginx as a WebDAV server, where it is installed with its dav-ext module."""
    yield from _started(Nginx())


@pytest.fixture(scope="session")
def apache_server() -> Iterator[Apache]:
    """Start Apache as a WebDAV server, where it is installed."""
    yield from _started(Apache())


@pytest.fixture(scope="session")
def ftp_server() -> Iterator[Pyftpdlib]:
    """Start pyftpdlib."""
    yield from _started(Pyftpdlib())


@pytest.fixture(scope="session")
def vsftpd_server() -> Iterator[Vsftpd]:
    """Start vsftpd, where it is installed and the tests run as root."""
    yield from _started(Vsftpd())


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """Start redis, where it is installed."""
    yield from _started(Redis())


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Memcached]:
    """Start memcached, where it is installed."""
    yield from _started(Memcached())


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """Start PostgreSQL with a table for objects, where it is installed."""
    yield from _started(PostgreSQL())


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MariaDB]:
    """Start MariaDB with a table for objects, where it is installed."""
    yield from _started(MariaDB())


def _started(server: S) -> Iterator[S]:
    """Yield a running server; skip the test where its program is not installed."""
    try:
        server.start()
    except ServerUnavailable as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture
def prefix(s3_server: S3Server) -> Iterator[str]:
    """Yield an unused ``bucket/prefix`` of the S3 server, and empty it afterwards."""
    name = f"test-{uuid4().hex[:12]}"
    yield f"{s3_server.bucket}/{name}"
    s3_server.remove_prefix(f"{name}/")


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[str]:
    """Yield a new bucket of the S3 server, and remove it afterwards."""
    name = f"test-{uuid4().hex[:12]}"
    s3_server.make_bucket(name)
    yield name
    s3_server.remove_prefix("", bucket=name)
    s3_server.client.delete_bucket(Bucket=name)
