"""The mounts of a gateway and the scans that use them: which are kept, and which are forgotten when."""

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

_MOST_SCANS: Final = 1 << 14
"""Scans and lazy sinks that are kept, as no event says that the last LazyFrame of one is gone."""

_MOST_VERSIONS: Final = 1 << 18
"""Versions of objects that all of them keep, at some 500 bytes each."""

_IDLE_MOUNTS: Final = 16
"""Mounts without a scan that are kept, as the next scan there finds a client's connections open."""

_IDLE_SECONDS: Final = 600.0
"""How long they are kept."""

_OPENS: Final = 64
"""Scans between two looks for what can be forgotten."""


class Mounts:
    """Mounts by bucket, and the scans that use each.

    A scan is kept until `close`, however old it is: a LazyFrame may be collected at any time. Only when there
    are too many of them the one that was not used for the longest time is forgotten, and what it asks then is
    an error. A mount that no scan uses goes after a while.

    Parameters
    ----------
    forgotten : callable
        Called with a mount and a scan's name when the scan is forgotten.
    """

    def __init__(self, forgotten: Callable[[Mount, str], object]) -> None:
        self._forgotten = forgotten
        self._lock = threading.Lock()
        # Both with the one that was not used for the longest time first.
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
        """Begin a scan or sink.

        Parameters
        ----------
        filesystem, root, write
            As `Mount` takes them.
        keep : bool
            Keep it until `close`, however many there are: its caller is sure to call that.

        Returns
        -------
        str
            The bucket, the same for the same directory.
        Mount
        str
            The name of the scan.
        """
        # Options compared as a filesystem compares them, secrets included.
        key = (type(filesystem), *sorted(filesystem.native.items()), filesystem.tuning, root, write)
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
            if len(self._scans) > _MOST_SCANS:
                self._forget_oldest()
            if self._opened % _OPENS == 0:
                self._shrink()
        return bucket, mount, scan

    def use(self, bucket: str, scan: str | None) -> Mount:
        """Return the mount of a request.

        Parameters
        ----------
        bucket : str
        scan : str or None
            The name of the scan that asks; None for what needs none.

        Raises
        ------
        S3Error
            404 when there is no such mount or scan.
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
        """Return the mount of a bucket; None when there is none."""
        return self._mounts.get(bucket)

    def close(self, bucket: str, scan: str) -> None:
        """End a scan; ending it twice is no error."""
        with self._lock:
            self._scans.pop((bucket, scan), None)
            mount = self._mounts.get(bucket)
            if mount is not None:
                mount.scans.pop(scan, None)

    def shrink(self) -> None:
        """Forget mounts that no scan uses, and scans beyond the limits."""
        with self._lock:
            self._shrink()

    def _touch(self, bucket: str, scan: str | None) -> None:
        self._mounts[bucket].used = time.monotonic()
        self._mounts.move_to_end(bucket)
        if (bucket, scan) in self._scans:
            self._scans.move_to_end((bucket, scan or ""))

    def _shrink(self) -> None:
        versions = sum(mount.versions for mount in self._mounts.values())
        while versions > _MOST_VERSIONS and len(self._scans) > 1:
            versions -= self._forget_oldest()
        idle = [bucket for bucket, mount in self._mounts.items() if not mount.scans]
        limit = time.monotonic() - _IDLE_SECONDS
        for i, bucket in enumerate(idle):
            if len(idle) - i > _IDLE_MOUNTS or self._mounts[bucket].used < limit:
                del self._mounts[bucket]
        if len(self._buckets) > len(self._mounts):
            self._buckets = {k: bucket for k, bucket in self._buckets.items() if bucket in self._mounts}

    def _forget_oldest(self) -> int:
        (bucket, scan), _ = self._scans.popitem(last=False)
        mount = self._mounts[bucket]
        self._forgotten(mount, scan)
        return len(mount.scans.pop(scan, ()))


_OVER: Final = f"This scan is over, or older than the {_MOST_SCANS} that are kept: scan the files again"
