"""A mount: the directory of a filesystem that a bucket of the gateway serves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from opendalfs import listing, urls
from opendalfs.errors import redact
from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.read.version_cache import CONDITIONAL, VersionCache
from opendalfs.services import Locality
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, pin

from .s3 import S3Error

__all__ = ["ListedObject", "Mount", "s3_etag"]


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing."""

    key: str
    size: int
    etag: str
    modified: datetime | None


class Mount:
    """A directory of a filesystem as a bucket.

    A key of the bucket is ``<scan>/<label>/<key in the directory>``. The reads of one scan get one version of
    each object; other scans keep their own pinned versions. The label makes Polars' errors readable. The two
    folders also keep scans from beginning at the root of the bucket, from which Polars reads hive partitions
    wrongly.

    Parameters
    ----------
    filesystem : ServiceFileSystem
        The filesystem.
    root : str
        The directory, as a path of the filesystem without a trailing slash.
    writable : bool
        Whether objects may be written.

    Attributes
    ----------
    scans : dict
        The pinned versions of each scan, by its name and by key of the bucket.
    last_used : float
        Time of the last request, in seconds of `time.monotonic`.

    Examples
    --------
    >>> import opendalfs
    >>> mount = Mount(opendalfs.filesystem("memory"), "lake", writable=False)
    >>> mount.locate(f"scan1/{mount.label}/a/b.parquet")[1]
    'lake/a/b.parquet'
    """

    def __init__(self, filesystem: ServiceFileSystem, root: str, *, writable: bool) -> None:
        self.filesystem = filesystem
        self.root = root
        self.writable = writable
        self.label = root.strip("/") or filesystem.service.scheme
        self.connection, base = filesystem.locate(root)
        self._base = f"{base}/" if base else ""
        self.scans: dict[str, dict[str, Version]] = {}
        self.last_used = time.monotonic()
        self._latest = VersionCache(CONDITIONAL)

    def __repr__(self) -> str:
        return f"Mount({self.filesystem!r}, {self.root!r}, writable={self.writable})"

    @property
    def versions(self) -> int:
        """Number of versions in memory."""
        return len(self._latest) + sum(map(len, list(self.scans.values())))

    def _split(self, key: str) -> tuple[str, str]:
        """Split a key of the bucket into the beginning that names the scan, and the key in the directory."""
        scan, _, rest = key.partition("/")
        if not scan or not rest.startswith(f"{self.label}/"):
            raise S3Error(
                404,
                "NoSuchKey",
                f"the path is not in the mount {self.label!r}: use the URLs that Gateway.mount returned",
            )
        return f"{scan}/{self.label}/", rest[len(self.label) + 1 :]

    def locate(self, key: str) -> tuple[Connection, str]:
        """Return the connection, and the key in it, of a key of the bucket.

        Raises
        ------
        S3Error
            403 or 404 for a key outside the mount; 400 for a key that OpenDAL would take for another one.
        """
        if ".." in key and ".." in key.split("/"):
            raise S3Error(403, "AccessDenied", "the path is outside the mount: remove '..' from it")
        found = self._base + self._split(key)[1]
        try:
            urls.check_key(found.removesuffix("/"), found)
        except ValueError as exc:
            raise S3Error(400, "InvalidURI", str(exc)) from None
        return self.connection, found

    async def stat(self, key: str) -> Version:
        """Get the version of an object from storage, and pin it for the reads that follow.

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
        if connection.service.locality is Locality.PROCESS:
            # In-process: a lookup is faster than a thread switch.
            metadata = connection.stat_blocking(found)
        else:
            metadata = await connection.stat(found)
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
            Whether this may be the first read of a scan, such as that of a Parquet footer. It must get the
            current version; all later reads get the version of the first one.

        Returns
        -------
        Version or None
            None if the version must be read from storage. A first read gets the last known version if the
            read itself fails when the object has changed.
        """
        if not first:
            return self._pinned(key).get(key)
        found = self._latest.get(self.locate(key)[1])
        if found is None or "if_match" not in pin(self.connection, found):
            return None
        self._pinned(key)[key] = found
        return found

    def _pinned(self, key: str) -> dict[str, Version]:
        """Return the versions of the scan that a key names; an empty dict once the scan has ended."""
        return self.scans.get(key.partition("/")[0], {})

    def pin(self, key: str, version: Version) -> None:
        """Pin a version for the reads of the scan that a key names.

        It stays pinned when a read of it fails: Polars then tries again, and would combine the bytes of a
        newer version with the footer of the older one.
        """
        self._pinned(key)[key] = version
        self._latest.put(self.locate(key)[1], version)

    def wrote(self, key: str) -> None:
        """Invalidate the caches of the filesystem after an object was written."""
        self.filesystem.invalidate_cache(self.connection.name(self.locate(key)[1]))

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
        scan, _, rest = prefix.partition("/")
        if rest and f"{self.label}/".startswith(rest):
            # For a glob Polars sends the part before its first special character, which may be in the label.
            prefix = f"{scan}/{self.label}/"
        parent, slash, name = prefix.rpartition("/")
        # Only the path of the directory must be checked: storage itself lists the names in it.
        connection, folder = self.locate(parent + slash)
        base, start = self._split(prefix)[0], folder + name
        folder = folder.rstrip("/")
        connection.require("list", "list: name each file, without a glob")
        if deep:
            infos = await listing.list_tree(connection, folder, prefix=name)
        else:
            infos = await listing.list_directory(connection, folder) or []
        objects: list[ListedObject] = []
        folders: list[str] = []
        for info in infos:
            path = urls.split(connection.service, info["name"])[1]
            if not path.startswith(start):
                continue
            key = base + path[len(self._base) :]
            if info["type"] == "directory":
                folders.append(f"{key}/")
            else:
                objects.append(self._listed(key, info))
        objects.sort(key=lambda found: found.key)
        return objects, [] if deep else sorted(folders)

    def _listed(self, key: str, info: listing.Info) -> ListedObject:
        version = Version.from_info(info)
        self.pin(key, version)
        return ListedObject(key, version.size, s3_etag(version), version.modified)


def s3_etag(version: Version) -> str:
    """Return the quoted etag of a version; made of its size and time if the service has none."""
    if version.etag:
        return version.etag if version.etag.startswith(('"', "W/")) else f'"{version.etag}"'
    when = version.modified
    return f'"{version.size:x}-{int(when.timestamp() * 1e6) if when else 0:x}"'
