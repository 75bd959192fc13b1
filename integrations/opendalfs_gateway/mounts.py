"""The mounts of a gateway, the scans that use them, and how long both are kept."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from opendalfs.fs.service_filesystem import ServiceFileSystem

from .mount import Mount
from .s3 import S3Error

__all__ = ["Mounts"]

_MAX_SCANS: Final = 1 << 14
"""Scans and lazy sinks that are kept. The end of a scan's last LazyFrame cannot be observed."""

_MAX_VERSIONS: Final = 1 << 18
"""Pinned versions of all scans together, at some 500 bytes each."""

_IDLE_MOUNTS: Final = 16
"""Mounts without a scan that are kept, so that the next scan can use the client's open connections."""

_IDLE_SECONDS: Final = 600.0
"""How long mounts without a scan are kept."""

_EVICT_EVERY: Final = 64
"""Scans between two evictions."""


class Mounts:
    """Mounts by bucket, and the scans that use each.

    A scan is kept until `close`, whatever its age: a LazyFrame may be collected at any time. If there are too
    many scans, the least recently used one is evicted, and its later requests fail. A mount without scans is
    evicted after a while.

    Parameters
    ----------
    evicted : callable
        Called with a mount and the name of a scan when the scan is evicted.
    """

    def __init__(self, evicted: Callable[[Mount, str], object]) -> None:
        self._evicted = evicted
        self._lock = threading.Lock()
        # Both ordered by use, the least recently used first.
        self._mounts: OrderedDict[str, Mount] = OrderedDict()
        self._scans: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._buckets: dict[tuple[object, ...], str] = {}
        self._opened = 0

    def __len__(self) -> int:
        return len(self._mounts)

    @property
    def scans(self) -> int:
        """Number of scans and sinks."""
        return sum(len(mount.scans) for mount in list(self._mounts.values()))

    def open(
        self, filesystem: ServiceFileSystem, root: str, *, write: bool, keep: bool
    ) -> tuple[str, Mount, str]:
        """Start a scan or sink.

        Parameters
        ----------
        filesystem, root, write
            As `Mount` takes them.
        keep : bool
            Never evict it: its caller always calls `close`.

        Returns
        -------
        str
            Name of the bucket: always the same for a directory.
        Mount
        str
            The name of the scan.
        """
        # The options are compared with the secrets, like those of a filesystem.
        key = (
            type(filesystem),
            *sorted(filesystem.native.items()),
            filesystem.provider,
            filesystem.tuning,
            root,
            write,
        )
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = f"mount-{secrets.token_hex(16)}"
                self._mounts[bucket] = Mount(filesystem, root, writable=write)
                self._buckets[key] = bucket
            mount, scan = self._mounts[bucket], secrets.token_hex(8)
            mount.scans[scan] = {}
            if not keep:
                self._scans[bucket, scan] = None
            self._touch(bucket, scan)
            self._opened += 1
            if len(self._scans) > _MAX_SCANS:
                self._evict_oldest()
            if self._opened % _EVICT_EVERY == 0:
                self._evict()
        return bucket, mount, scan

    def use(self, bucket: str, scan: str | None) -> Mount:
        """Return the mount of a request.

        Parameters
        ----------
        bucket : str
        scan : str or None
            Name of the scan; None for requests that need none.

        Raises
        ------
        S3Error
            404 if there is no such mount or scan.
        """
        with self._lock:
            mount = self._mounts.get(bucket)
            if mount is None:
                raise S3Error(404, "NoSuchBucket", _OVER)
            if scan is not None and scan not in mount.scans:
                raise S3Error(404, "NoSuchKey", _OVER)
            self._touch(bucket, scan)
            return mount

    def find(self, bucket: str) -> Mount | None:
        """Return the mount of a bucket; None if there is none."""
        return self._mounts.get(bucket)

    def close(self, bucket: str, scan: str) -> None:
        """End a scan. A second call does nothing."""
        with self._lock:
            self._scans.pop((bucket, scan), None)
            mount = self._mounts.get(bucket)
            if mount is not None:
                mount.scans.pop(scan, None)

    def evict(self) -> None:
        """Evict mounts without scans, and scans beyond the limits."""
        with self._lock:
            self._evict()

    def _touch(self, bucket: str, scan: str | None) -> None:
        self._mounts[bucket].last_used = time.monotonic()
        self._mounts.move_to_end(bucket)
        if (bucket, scan) in self._scans:
            self._scans.move_to_end((bucket, scan or ""))

    def _evict(self) -> None:
        versions = sum(mount.versions for mount in self._mounts.values())
        while versions > _MAX_VERSIONS and len(self._scans) > 1:
            versions -= self._evict_oldest()
        idle = [bucket for bucket, mount in self._mounts.items() if not mount.scans]
        limit = time.monotonic() - _IDLE_SECONDS
        for i, bucket in enumerate(idle):
            if len(idle) - i > _IDLE_MOUNTS or self._mounts[bucket].last_used < limit:
                del self._mounts[bucket]
        if len(self._buckets) > len(self._mounts):
            self._buckets = {k: bucket for k, bucket in self._buckets.items() if bucket in self._mounts}

    def _evict_oldest(self) -> int:
        (bucket, scan), _ = self._scans.popitem(last=False)
        mount = self._mounts[bucket]
        self._evicted(mount, scan)
        return len(mount.scans.pop(scan, ()))


_OVER: Final = f"the scan has ended, or is not one of the last {_MAX_SCANS}: scan the files again"
