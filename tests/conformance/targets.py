"""The filesystems that the tests of this folder run on, and what each of them can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import OpendalFileSystem

__all__ = ["HTTP", "TARGETS", "Place", "Target"]

Lookup = Callable[[str], Any]
"""Returns a server by the name of its fixture, so that only servers in use are started."""

Opened = tuple[OpendalFileSystem, str]


@dataclass(frozen=True)
class Target:
    """A service on one server.

    Parameters
    ----------
    name : str
        Name in the ids of the tests.
    connect : callable
        Returns the filesystem, and a path below which tests may write.
    flat : bool
        Keys are flat: a directory is a prefix, and disappears with its last file.
    both : bool
        Whether a name can be a file and a directory at once.
    etags : bool
        Whether objects have entity tags, so that a read can be pinned.
    times : bool
        Whether infos have the time of the last write.
    service : bool
        Whether the operating system installs the server: its tests run with ``-m services`` only.
    suites : bool
        Whether fsspec's suites run without ``-m services``: not on slow servers, and on one target of each
        kind (``s3``, ``fs`` for the local disk, ``memory`` for flat keys).
    slow : bool
        Whether the server is so slow that only its tests of changes and writes run without ``-m services``.
    """

    name: str
    connect: Callable[[Lookup, Path], Opened]
    flat: bool = False
    both: bool = False
    etags: bool = False
    times: bool = True
    service: bool = False
    suites: bool = True
    slow: bool = False


_LACKS = {
    "flat": "directories are real, not prefixes of keys",
    "both": "a name cannot be a file and a directory at once",
    "etags": "objects have no entity tags that pin a read",
    "times": "objects have no time of the last write",
}
"""Why a test is skipped on a target that lacks a feature, by the name of its field."""

_CANNOT = {
    "list": "cannot list",
    "write_can_empty": "cannot write empty files",
    "write_with_content_type": "stores no content type",
    "write_with_if_not_exists": "has no conditional writes",
}
"""Why a test is skipped on a service that lacks a capability, by OpenDAL's name of it."""


@dataclass(frozen=True)
class Place:
    """A filesystem, and a path that no other test uses."""

    target: Target
    fs: OpendalFileSystem
    root: str

    def path(self, *parts: str) -> str:
        """Return a path below that of the test."""
        return "/".join((self.root, *parts))

    def can(self, capability: str) -> bool:
        """Whether the service has a capability, by OpenDAL's name of it."""
        return self.fs.locate(self.root)[0].can(capability)

    def require(self, capability: str) -> None:
        """Skip the test where the service lacks a capability."""
        if not self.can(capability):
            pytest.skip(f"OpenDAL's {self.fs.service.scheme} {_CANNOT[capability]}")

    def require_target(self, feature: str) -> None:
        """Skip the test where the target lacks a feature, by the name of its field."""
        if not getattr(self.target, feature):
            pytest.skip(_LACKS[feature])


def _memory(lookup: Lookup, tmp: Path) -> Opened:
    return opendalfs.filesystem("memory", skip_instance_cache=True), uuid4().hex


def _fs(lookup: Lookup, tmp: Path) -> Opened:
    return opendalfs.filesystem("fs", skip_instance_cache=True), str(tmp / "fs")


def _s3(fixture: str) -> Callable[[Lookup, Path], Opened]:
    def connect(lookup: Lookup, tmp: Path) -> Opened:
        server = lookup(fixture)
        fs = opendalfs.filesystem("s3", skip_instance_cache=True, **server.options)
        return fs, f"{server.bucket}/conformance/{uuid4().hex}"

    return connect


def _webdav(lookup: Lookup, tmp: Path) -> Opened:
    endpoint = lookup("s3_server").webdav_endpoint
    fs = opendalfs.filesystem("webdav", endpoint=endpoint, skip_instance_cache=True)
    return fs, f"conformance-webdav/{uuid4().hex}"


def _webdav_server(fixture: str) -> Callable[[Lookup, Path], Opened]:
    def connect(lookup: Lookup, tmp: Path) -> Opened:
        options = lookup(fixture).options
        return opendalfs.filesystem("webdav", skip_instance_cache=True, **options), f"data/{uuid4().hex}"

    return connect


def _ftp_server(fixture: str) -> Callable[[Lookup, Path], Opened]:
    def connect(lookup: Lookup, tmp: Path) -> Opened:
        options = lookup(fixture).options
        fs = opendalfs.filesystem("ftp", skip_instance_cache=True, **options)
        return fs, f"data/{uuid4().hex}"

    return connect


def _sqlite(lookup: Lookup, tmp: Path) -> Opened:
    file = tmp / "store.sqlite"
    _make_table(file)
    options = {"connection_string": f"sqlite://{file}", "table": "store"}
    return opendalfs.filesystem("sqlite", **options, skip_instance_cache=True), "data"


def _make_table(file: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE store (key TEXT PRIMARY KEY, value BLOB)")
    connection.commit()
    connection.close()


def _redb(lookup: Lookup, tmp: Path) -> Opened:
    options = {"datadir": str(tmp / "store.redb"), "table": "store"}
    return opendalfs.filesystem("redb", **options, skip_instance_cache=True), "data"


def _sled(lookup: Lookup, tmp: Path) -> Opened:
    fs = opendalfs.filesystem("sled", datadir=str(tmp / "store.sled"), skip_instance_cache=True)
    return fs, "data"


def _persy(lookup: Lookup, tmp: Path) -> Opened:
    options = {"datafile": str(tmp / "store.persy"), "segment": "values", "index": "keys"}
    return opendalfs.filesystem("persy", **options, skip_instance_cache=True), "data"


def _cacache(lookup: Lookup, tmp: Path) -> Opened:
    return opendalfs.filesystem("cacache", datadir=str(tmp / "cacache"), skip_instance_cache=True), "data"


def _in_process(scheme: str) -> Callable[[Lookup, Path], Opened]:
    def connect(lookup: Lookup, tmp: Path) -> Opened:
        return opendalfs.filesystem(scheme, skip_instance_cache=True), uuid4().hex

    return connect


def _key_value_server(scheme: str, fixture: str) -> Callable[[Lookup, Path], Opened]:
    def connect(lookup: Lookup, tmp: Path) -> Opened:
        fs = opendalfs.filesystem(scheme, skip_instance_cache=True, **lookup(fixture).options)
        return fs, uuid4().hex

    return connect


def _azblob(lookup: Lookup, tmp: Path) -> Opened:
    server = lookup("azure_server")
    fs = opendalfs.filesystem("azblob", skip_instance_cache=True, **server.options)
    return fs, f"{server.bucket}/conformance/{uuid4().hex}"


def _gcs(lookup: Lookup, tmp: Path) -> Opened:
    server = lookup("gcs_server")
    fs = opendalfs.filesystem("gcs", skip_instance_cache=True, **server.options)
    return fs, f"{server.bucket}/conformance/{uuid4().hex}"


def _bound_memory(lookup: Lookup, tmp: Path) -> Opened:
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}", skip_instance_cache=True), "data"


def _bound_fs(lookup: Lookup, tmp: Path) -> Opened:
    return OpendalFileSystem("fs", root=str(tmp / "root"), skip_instance_cache=True), "data"


TARGETS = {
    target.name: target
    for target in (
        Target("memory", _memory, flat=True, both=True),
        Target("fs", _fs),
        Target("s3", _s3("s3_server"), etags=True),
        Target("moto", _s3("moto_server"), flat=True, both=True, etags=True, suites=False),
        Target("webdav", _webdav, etags=True, suites=False),
        # These servers have no etags, weak ones or invalid ones, so a read cannot be pinned.
        Target("webdav-wsgidav", _webdav_server("wsgidav_server"), suites=False, slow=True),
        Target("webdav-nginx", _webdav_server("nginx_server"), service=True),
        Target("webdav-apache", _webdav_server("apache_server"), service=True),
        Target("webdav-rclone", _webdav_server("rclone_server"), etags=True, service=True),
        Target("ftp-pyftpdlib", _ftp_server("ftp_server"), suites=False, slow=True),
        Target("ftp-vsftpd", _ftp_server("vsftpd_server"), service=True),
        Target("sqlite", _sqlite, flat=True, both=True, times=False),
        Target("redb", _redb, flat=True, both=True, times=False, suites=False),
        Target("sled", _sled, flat=True, both=True, times=False, suites=False),
        Target("persy", _persy, flat=True, both=True, times=False, suites=False),
        Target("cacache", _cacache, flat=True, both=True, suites=False),
        Target("dashmap", _in_process("dashmap"), flat=True, both=True, suites=False),
        Target("moka", _in_process("moka"), flat=True, both=True, suites=False),
        Target("mini-moka", _in_process("mini-moka"), flat=True, both=True, suites=False),
        *(
            Target(
                name,
                _key_value_server(name, f"{name}_server"),
                flat=True,
                both=True,
                times=False,
                service=True,
            )
            for name in ("redis", "memcached", "postgresql", "mysql")
        ),
        Target("azblob", _azblob, flat=True, both=True, etags=True, service=True),
        # The emulator makes etags and ignores If-Match.
        Target("gcs", _gcs, flat=True, both=True, suites=False, slow=True),
        Target("operator-memory", _bound_memory, flat=True, both=True, suites=False),
        Target("operator-fs", _bound_fs, suites=False),
    )
}

HTTP = {"http-nginx": "nginx_server", "http-wsgidav": "wsgidav_server"}
"""Targets of the service ``http``, which only reads, and the fixture of the server of each: WebDAV writes
the files."""
