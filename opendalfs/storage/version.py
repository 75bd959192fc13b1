"""Versions of objects, and reads that are pinned to one version."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from opendal.types import Metadata

from opendalfs.errors import ChangedError, RangeError
from opendalfs.services import Form, Locality

from .connection import Connection

__all__ = ["Version", "changed", "compare", "compares", "detects_change", "pin", "strong_etag", "whole"]


class Version(NamedTuple):
    """The version of an object, as far as its service distinguishes versions.

    Parameters
    ----------
    size : int
        Bytes.
    etag : str, optional
        Entity tag.
    version : str, optional
        The service's version id.
    modified : datetime, optional
        Time of the last write.
    """

    size: int
    etag: str | None = None
    version: str | None = None
    modified: datetime | None = None

    @classmethod
    def of(cls, connection: Connection, key: str, metadata: Metadata) -> Version:
        """Return the version in an object's metadata."""
        return cls(
            metadata.content_length,
            metadata.etag,
            metadata.version,
            connection.modified(key, metadata),
        )

    @classmethod
    def of_file(cls, connection: Connection, key: str, metadata: Metadata) -> Version:
        """Return the version in a file's metadata; raise IsADirectoryError for those of a directory.

        Local disks have a size for a directory too, past which a range would be empty.
        """
        if metadata.is_dir:
            raise IsADirectoryError(errno.EISDIR, "Is a directory", connection.name(key.rstrip("/")))
        return cls.of(connection, key, metadata)

    @classmethod
    def from_info(cls, info: dict[str, Any]) -> Version:
        """Return the version in the result of ``info``."""
        return cls(info["size"], info.get("ETag"), info.get("VersionId"), info.get("LastModified"))


def pin(connection: Connection, version: Version | None) -> dict[str, str]:
    """Return the options that make a read fail when the object has another version; empty if there are none.

    S3 replaces the content of the version ``null`` without a new id, so that its etag has to match too.
    """
    if version is None:
        return {}
    options = {}
    if version.version and connection.can("read_with_version"):
        options["version"] = version.version
    etag = strong_etag(connection, version)
    if etag and (not options or version.version == "null"):
        options["if_match"] = etag
    return options


def strong_etag(connection: Connection, version: Version) -> str | None:
    """Return the etag of a version if a read can be made to fail unless it matches.

    A weak etag (``W/``) never matches (RFC 9110, 13.1.1), so it cannot pin a read. Over plain HTTP, an etag
    without quotes cannot either, as it is not valid (8.8.3): SeaweedFS's WebDAV sends such etags for large
    files.
    """
    etag = version.etag
    quoted = etag is not None and etag.startswith('"')
    if not etag or etag.startswith("W/") or (connection.service.form is Form.ENDPOINT and not quoted):
        return None
    return etag if connection.can("read_with_if_match") else None


def compares(connection: Connection, version: Version | None) -> bool:
    """Whether to compare size and time after a read, as that costs no request."""
    return version is not None and connection.service.locality is not Locality.REMOTE


def detects_change(connection: Connection, version: Version) -> bool:
    """Whether a read of a version fails when the object has another version by then."""
    return compares(connection, version) or bool(pin(connection, version))


def compare(connection: Connection, key: str, version: Version, metadata: Metadata) -> None:
    """Raise ChangedError unless the metadata has the size and time of the version."""
    now = Version.of(connection, key, metadata)
    if (now.size, now.modified) != (version.size, version.modified):
        raise changed(connection, key)


@contextmanager
def whole(connection: Connection, key: str) -> Iterator[None]:
    """Raise ChangedError in the block when the object ends before the end of its version."""
    try:
        yield
    except RangeError as exc:
        raise changed(connection, key) from exc


def changed(connection: Connection, key: str) -> ChangedError:
    """Return the error for an object that no longer has the version of its reader."""
    return ChangedError(
        errno.ESTALE,
        f"The object changed while it was being read: open it again ({connection.where})",
        connection.name(key),
    )
