"""A directory of a filesystem that is served as a bucket."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from opendalfs import listing, urls
from opendalfs.errors import NoContainerError, redact
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.path_cache import PathCache
from opendalfs.read import recorded
from opendalfs.read.cache import cache_of
from opendalfs.read.version_cache import CONDITIONAL, VersionCache
from opendalfs.services import Locality
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, pin

from .s3 import S3Error

__all__ = ["Directory", "ListedObject", "has_identity", "s3_etag"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing."""

    key: str
    size: int
    etag: str
    modified: datetime | None


class Directory:
    """A directory of a filesystem as a bucket: a key of the bucket is a path in the directory.

    Parameters
    ----------
    filesystem : OpendalFileSystem
        The filesystem.
    root : str
        The directory, as a path of the filesystem without a trailing slash.
    writable : bool
        Whether objects may be written.

    Examples
    --------
    >>> import opendalfs
    >>> directory = Directory(opendalfs.filesystem("memory"), "lake", writable=False)
    >>> directory.locate("a/b.parquet")[1]
    'lake/a/b.parquet'
    """

    keeps_pins = False
    """Whether later reads get the version of an earlier one, even when the object has changed."""

    missing_is_empty = True
    """Whether a list of a directory that does not exist is empty, as in a bucket, rather than an error."""

    def __init__(self, filesystem: OpendalFileSystem, root: str, *, writable: bool) -> None:
        self.filesystem = filesystem
        self.root = root
        self.writable = writable
        self.connection, base = filesystem.locate(root)
        self._base = f"{base}/" if base else ""
        self._latest = VersionCache(CONDITIONAL)
        self._written = PathCache[tuple[Version, str]](most=CONDITIONAL.most)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.filesystem!r}, {self.root!r}, writable={self.writable})"

    def _split(self, key: str) -> tuple[str, str]:
        """Split a key of the bucket into what comes before, and the path in the directory."""
        return "", key

    def locate(self, key: str) -> tuple[Connection, str]:
        """Return the connection, and the key in it, of a key of the bucket.

        Raises
        ------
        S3Error
            403 or 404 for a key outside the directory; 400 for a key that OpenDAL would take for another one.
        """
        if ".." in key and ".." in key.split("/"):
            raise S3Error(403, "AccessDenied", "the path leads out of what is served: remove '..' from it")
        rest = self._split(key)[1]
        found = self._base + rest
        try:
            if rest.startswith("/") or rest.endswith("//"):
                raise ValueError(
                    f"{redact(key)!r} has a slash too many: OpenDAL would take it for another key"
                )
            urls.check_key(found.removesuffix("/"), found)
            if not self.connection.can("list_with_recursive"):
                urls.check_directories(found, found)
        except ValueError as exc:
            raise S3Error(400, "InvalidURI", str(exc)) from None
        return self.connection, found

    async def stat(self, key: str, *, refresh: bool = False) -> Version:
        """Get the version of an object, and remember it for the reads that follow.

        Parameters
        ----------
        key : str
            Key of the object.
        refresh : bool
            Whether to ask storage also within `cache_ttl`, as all that changes objects must.

        Returns
        -------
        Version

        Raises
        ------
        FileNotFoundError
            If there is no object, or it is a directory.
        OSError
            If storage does not respond.
        """
        connection, found = self.locate(key)
        if not found or found.endswith("/"):
            raise FileNotFoundError(2, "No such object: this is a directory", redact(key))
        metadata = None if refresh else recorded.recorded_stat(connection, found)
        if metadata is None:
            started = recorded.begin(connection)
            if connection.service.locality is Locality.PROCESS:
                # In-process: a lookup is faster than a thread switch.
                metadata = connection.stat_blocking(found)
            else:
                metadata = await connection.stat(found)
            recorded.keep_stat(connection, found, metadata, started)
        if metadata.is_dir:
            raise FileNotFoundError(2, "No such object: this is a directory", redact(key))
        version = Version.of(connection, found, metadata)
        self.pin(key, version)
        return version

    def pinned_version(self, key: str, *, first: bool) -> Version | None:
        """Return the version that a read gets without a request to storage.

        Parameters
        ----------
        key : str
            Key of the object.
        first : bool
            Whether the read must get the current version.

        Returns
        -------
        Version or None
            None if the version must be read from storage. A read that must get the current version gets the
            last known one only if it fails when the object has changed.
        """
        if cache_of(self.connection) is not None:
            # It returns what it has of a version without asking storage.
            return None
        found = self._latest.get(self.locate(key)[1])
        if found is None or pin(self.connection, found).keys() != {"if_match"}:
            return None
        return found

    def pin(self, key: str, version: Version) -> None:
        """Remember a version for the reads that follow."""
        self._latest.put(self.locate(key)[1], version)

    def etag(self, key: str, version: Version) -> str:
        """Return the quoted etag of an object.

        Where the service has no strong etags, its times may be in steps of seconds, so that two objects of
        one size have the same time. So what was written through this server gets an etag of its own, as long
        as storage shows the same size and time.
        """
        etag = s3_etag(version)
        if pin(self.connection, version):
            return etag
        written, mark = self._written.get(self.locate(key)[1]) or (None, "")
        if written is None or (written.size, written.modified) != (version.size, version.modified):
            return etag
        return f'{etag.removeprefix("W/")[:-1]}-{mark}"'

    def mark(self, key: str, version: Version) -> str:
        """Return the quoted etag of an object that this server has just written: no other one has had it."""
        self._written.put(self.locate(key)[1], (version, secrets.token_hex(6)))
        return self.etag(key, version)

    def wrote(self, key: str) -> None:
        """Invalidate the caches of the filesystem after an object was written or removed."""
        self._written.pop(self.locate(key)[1])
        self.invalidate(key)

    def invalidate(self, key: str) -> None:
        """Invalidate the caches of the filesystem after it was seen that an object has changed."""
        found = self.locate(key)[1]
        self._latest.invalidate(found)
        self.filesystem.invalidate_cache(self.connection.name(found))

    async def _infos(
        self, connection: Connection, folder: str, name: str, *, deep: bool
    ) -> list[listing.Info]:
        try:
            if deep:
                return await listing.list_tree(connection, folder, prefix=name, refresh=False)
            return await listing.list_directory(connection, folder, refresh=False) or []
        except FileNotFoundError as exc:
            if isinstance(exc, NoContainerError) or not self.missing_is_empty:
                raise
            return []

    def _listed(self, key: str, info: listing.Info) -> ListedObject:
        version = Version.from_info(info)
        self.pin(key, version)
        return ListedObject(key, version.size, self.etag(key, version), version.modified)

    async def list(self, prefix: str, *, deep: bool) -> tuple[list[ListedObject], list[str]]:
        """List the keys that start with a prefix.

        Parameters
        ----------
        prefix : str
            Beginning of keys of the bucket; it may end within a name.
        deep : bool
            Whether to list all directories below.

        Returns
        -------
        list of ListedObject
            The objects, sorted by key.
        list of str
            The directories, each with a slash at its end, sorted; empty if `deep`.

        Raises
        ------
        UnsupportedError
            If the service cannot list.
        OSError
            If it cannot be listed.
        """
        if prefix.startswith("/") or "//" in prefix:
            # No such key can be reached, or exist.
            return [], []
        parent, slash, name = prefix.rpartition("/")
        # Only the path of the directory must be checked: storage itself lists the names in it.
        connection, folder = self.locate(parent + slash)
        base, start = self._split(prefix)[0], folder + name
        connection.require("list", "list: name each file, without a glob")
        objects: list[ListedObject] = []
        folders: list[str] = []
        for info in await self._infos(connection, folder.rstrip("/"), name, deep=deep):
            path = connection.key(info["name"])
            if not path.startswith(start):
                continue
            key = base + path[len(self._base) :]
            if info["type"] == "directory":
                folders.append(f"{key}/")
            else:
                objects.append(self._listed(key, info))
        objects.sort(key=lambda found: found.key)
        return objects, [] if deep else sorted(folders)


def s3_etag(version: Version) -> str:
    """Return the quoted etag of a version; made of its size and time if the service has none."""
    if version.etag:
        return version.etag if version.etag.startswith(('"', "W/")) else f'"{version.etag}"'
    when = version.modified
    return f'"{version.size:x}-{(when - _EPOCH) // timedelta(microseconds=1) if when else 0:x}"'


def has_identity(version: Version) -> bool:
    """Whether the etag of a version shows that other programs have not changed the object."""
    return bool(version.etag) or version.modified is not None
