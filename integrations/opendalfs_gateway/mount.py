"""A mount: the directory of a filesystem that a bucket of the gateway serves to scans and sinks."""

from __future__ import annotations

import time

from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.read.cache import cache_of
from opendalfs.storage.version import Version

from .directory import Directory, ListedObject
from .s3 import S3Error

__all__ = ["Mount"]


class Mount(Directory):
    """A directory of a filesystem as a bucket for scans and sinks.

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

    keeps_pins = True
    missing_is_empty = False

    def __init__(self, filesystem: ServiceFileSystem, root: str, *, writable: bool) -> None:
        super().__init__(filesystem, root, writable=writable)
        self.label = root.strip("/") or filesystem.service.scheme
        self.scans: dict[str, dict[str, Version]] = {}
        self.last_used = time.monotonic()

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
            As of `Directory.pinned_version`.
        """
        if not first or cache_of(self.connection) is not None:
            # The cache on disk asks no storage. What this scan has listed or looked up is current.
            return self._pinned(key).get(key)
        found = super().pinned_version(key, first=True)
        if found is not None:
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
        super().pin(key, version)

    async def list(self, prefix: str, *, deep: bool) -> tuple[list[ListedObject], list[str]]:
        """List the keys that start with a prefix, as `Directory.list` does."""
        scan, _, rest = prefix.partition("/")
        if rest and f"{self.label}/".startswith(rest):
            # For a glob Polars sends the part before its first special character, which may be in the label.
            prefix = f"{scan}/{self.label}/"
        return await super().list(prefix, deep=deep)
