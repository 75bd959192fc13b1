"""A mount: the part of a filesystem that one bucket of the gateway shows."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

from opendalfs import urls
from opendalfs.errors import redact
from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.listing import info as listing
from opendalfs.read.async_reader import fetch
from opendalfs.read.ranges import Range
from opendalfs.read.reader import Reader
from opendalfs.read.version_cache import CONDITIONAL, VersionCache
from opendalfs.runtime import workers
from opendalfs.services import Home
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, pin

from .s3 import S3Error

__all__ = ["ListedObject", "Mount", "Source", "etag"]


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object of a listing."""

    key: str
    size: int
    etag: str
    modified: datetime | None


class Mount:
    """A directory of a filesystem as a bucket, once for each scan.

    A key of the bucket is ``<scan>/<label>/<key in the directory>``. Reads under the name of one scan get one
    version of each object; each other scan has versions of its own. The label is what Polars' errors show of
    the place. And no scan begins at the bucket's root, from which Polars reads hive partitions wrongly.

    Parameters
    ----------
    filesystem : ServiceFileSystem
        Whose it is.
    root : str
        The directory, as a path of the filesystem without a trailing slash.
    writable : bool
        Whether objects may be written.

    Attributes
    ----------
    scans : dict
        For the name of each scan the versions that its reads get, by key of the bucket.
    used : float
        When a scan last asked for something, in seconds of `time.monotonic`.

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
        self.used = time.monotonic()
        self._latest = VersionCache(CONDITIONAL)

    def __repr__(self) -> str:
        return f"Mount({self.filesystem!r}, {self.root!r}, writable={self.writable})"

    @property
    def versions(self) -> int:
        """Number of versions in memory."""
        return len(self._latest) + sum(map(len, list(self.scans.values())))

    def _cut(self, key: str) -> tuple[str, str]:
        """Cut a key of the bucket into what names the scan and the key in the directory."""
        scan, _, rest = key.partition("/")
        if not scan or not rest.startswith(f"{self.label}/"):
            raise S3Error(404, "NoSuchKey", "the path is not within the mount")
        return f"{scan}/{self.label}/", rest[len(self.label) + 1 :]

    def locate(self, key: str) -> tuple[Connection, str]:
        """Give the connection and the key behind a key of the bucket.

        Raises
        ------
        S3Error
            403 or 404 for a key that leaves the mount; 400 for one that OpenDAL would take for another.
        """
        if ".." in key and ".." in key.split("/"):
            raise S3Error(403, "AccessDenied", "the path leaves the mount")
        found = self._base + self._cut(key)[1]
        try:
            urls.check_key(found.removesuffix("/"), found)
        except ValueError as exc:
            raise S3Error(400, "InvalidURI", str(exc)) from None
        return self.connection, found

    async def stat(self, key: str) -> Version:
        """Ask for the version of an object, and pin it for the reads that follow."""
        connection, found = self.locate(key)
        if not found or found.endswith("/"):
            raise FileNotFoundError(2, "a directory is no object", redact(key))
        if connection.service.home is Home.PROCESS:
            # A look into a table: quicker than to hand it to another thread.
            metadata = connection.stat_blocking(found)
        else:
            metadata = await connection.stat(found)
        if metadata.is_dir:
            raise FileNotFoundError(2, "a directory is no object", redact(key))
        version = Version.of(connection, found, metadata)
        self.pin(key, version)
        return version

    def known(self, key: str, *, begins: bool) -> Version | None:
        """Give the version of an object that a read gets without a question to storage.

        Parameters
        ----------
        key : str
            Of the object.
        begins : bool
            Whether this read is the first of a scan, such as that of a Parquet footer. The others get the
            version that the first one got, so that a scan reads one version; the first must get the one
            there is now.

        Returns
        -------
        Version or None
            None when storage must be asked. It need not be for a first read where the read itself fails
            when the object has changed.
        """
        if not begins:
            return self._pinned(key).get(key)
        found = self._latest.get(self.locate(key)[1])
        if found is None or "if_match" not in pin(self.connection, found):
            return None
        self._pinned(key)[key] = found
        return found

    def _pinned(self, key: str) -> dict[str, Version]:
        """Return the versions of the scan that a key names; an empty dict once the scan is over."""
        return self.scans.get(key.partition("/")[0], {})

    def pin(self, key: str, version: Version) -> None:
        """Let the reads that follow get a version.

        It stays when a read of it fails: Polars then tries again, and would take the bytes of a newer version
        for those that the footer it holds tells of.
        """
        self._pinned(key)[key] = version
        self._latest.put(self.locate(key)[1], version)

    def wrote(self, key: str) -> None:
        """Note that an object was written, so that the filesystem's own listings tell of it."""
        self.filesystem.invalidate_cache(self.connection.name(self.locate(key)[1]))

    async def list(self, prefix: str, *, deep: bool) -> tuple[list[ListedObject], list[str]]:
        """List the keys that start with a prefix.

        Parameters
        ----------
        prefix : str
            Need not end at a slash.
        deep : bool
            Whether to go down into directories.

        Returns
        -------
        list of ListedObject
            Sorted by key.
        list of str
            Directories, each with its slash, sorted; none when `deep`.
        """
        word, _, rest = prefix.partition("/")
        if rest and f"{self.label}/".startswith(rest):
            # Of a glob Polars tells what comes before its first special character, be it in the label.
            prefix = f"{word}/{self.label}/"
        above, slash, name = prefix.rpartition("/")
        # Only the directory must be one that can be reached; what is listed there can.
        connection, folder = self.locate(above + slash)
        scan, start = self._cut(prefix)[0], folder + name
        folder = folder.rstrip("/")
        connection.require("list", "list: name each file, without a glob")
        if deep:
            infos = await listing.tree(connection, folder, prefix=name)
        else:
            infos = await listing.children(connection, folder) or []
        items: list[ListedObject] = []
        folders: list[str] = []
        for info in infos:
            path = urls.split(connection.service, info["name"])[1]
            if not path.startswith(start):
                continue
            shown = scan + path[len(self._base) :]
            if info["type"] == "directory":
                folders.append(f"{shown}/")
            else:
                items.append(self._item(shown, info))
        items.sort(key=lambda item: item.key)
        return items, [] if deep else sorted(folders)

    def _item(self, path: str, info: listing.Info) -> ListedObject:
        version = Version.from_info(info)
        self.pin(path, version)
        return ListedObject(path, version.size, etag(version), version.modified)


class Source:
    """One version of one object, read in parts.

    Parameters
    ----------
    mount : Mount
        Where it is.
    key : str
        Its key in the mount.
    version : Version
        What is read.
    """

    def __init__(self, mount: Mount, key: str, version: Version) -> None:
        self._connection, self._key = mount.locate(key)
        self._version = version
        self._home = self._connection.service.home

    @property
    def part(self) -> int:
        """Largest part in bytes."""
        return self._connection.tuning.read_chunk

    async def fetch(self, part: Range) -> bytes:
        """Read one part with one request.

        What lives in this process is copied at once, which is quicker than any hand-over; a disk is read
        in a thread, where the read and the look at the version that goes with it cost one hand-over.
        """
        if self._home is Home.REMOTE:
            return (await fetch(self._connection, self._key, [part], self._version, gap=0))[0]
        source = Reader(self._connection, self._key, self._version)
        if self._home is Home.PROCESS:
            return source.fetch(part)
        return await asyncio.get_running_loop().run_in_executor(workers.executor(), source.fetch, part)


def etag(version: Version) -> str:
    """Give the quoted etag of a version; made up of size and time where the service has none."""
    if version.etag:
        return version.etag if version.etag.startswith(('"', "W/")) else f'"{version.etag}"'
    when: datetime | None = version.modified
    return f'"{version.size:x}-{int(when.timestamp() * 1e6) if when else 0:x}"'
