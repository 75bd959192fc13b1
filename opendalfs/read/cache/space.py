"""The limit on the size of a cache, which all processes keep together, and eviction.

The file ``usage`` holds the bytes in use. Who holds its lock (``flock``) may create a file: it adds the bytes
to the number and creates the file in its full length, before any content is written. Packs grow only while
the lock is held. So the number counts every file, also one of a process that was killed. Files that are
removed elsewhere are counted until the next scan, which counts what is there. On a disk without locks nothing
is added.
"""

from __future__ import annotations

import errno
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Final, NamedTuple

from .folder import CacheFolder, scan

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # pragma: no cover  # Windows has no flock
    fcntl = None

__all__ = ["SMALL", "Space", "cost", "has_locks"]

_USAGE: Final = struct.Struct("<QI")
_PAGE: Final = 4096
_OVERHEAD: Final = 16 * _PAGE
"""Bytes of what is always there: the top directories, the secret, the marks and the count."""

_LOCK_SECONDS: Final = 1.0
"""How long to wait for the lock of another process, which may evict; then the block is not kept."""

_TARGET: Final = 0.9
"""Part of the limit that is in use after an eviction, as each eviction scans the directory."""

SMALL: Final = 256 * 1024
"""Bytes up to which a range is kept in a pack, and longest: footers and small files, of which each costs a
round trip."""

_SMALL_SHARE: Final = 0.25
"""Part of the limit up to which packs outlive all larger ranges."""

_IN_USE: Final = float("inf")
"""Time of the last use of a file that is being written: it is not removed."""


class _File(NamedTuple):
    used: float
    cost: int
    path: str
    small: bool = False


def cost(size: int) -> int:
    """Return the bytes on disk of a file: whole pages, and one each for two directories."""
    return -(-size // _PAGE) * _PAGE + 2 * _PAGE


def has_locks() -> bool:
    """Whether this system has the locks that the cache needs."""
    return fcntl is not None


class Space:
    """The bytes that the files of a cache may have.

    Parameters
    ----------
    folder : CacheFolder
        The directory.
    limit : int
        Bytes of all files together, inclusive.
    """

    def __init__(self, folder: CacheFolder, limit: int) -> None:
        self._folder = folder
        self.limit = max(limit - _OVERHEAD, 0)

    @contextmanager
    def reserve(self, needed: int) -> Iterator[bool]:
        """Hold the lock in the block, in which files may grow by a number of bytes together.

        Files are evicted if there is no space for them.

        Parameters
        ----------
        needed : int
            Bytes, as of `cost`.

        Yields
        ------
        bool
            False if they do not fit, or another process holds the lock: then nothing may be written.

        Raises
        ------
        OSError
            If the disk is full, read-only or has no locks, or if the directory is gone.
        """
        if needed > self.limit // 2:
            yield False
            return
        with self._locked() as usage:
            if usage is None:
                yield False
                return
            used = _read_usage(usage)
            if used is None or used + needed > self.limit:
                used = self._make_space(needed)
            fits = used + needed <= self.limit
            _write_usage(usage, used + needed if fits else used)
            yield fits

    def create(self, size: int) -> tuple[str, int] | None:
        """Create a temporary file of full length.

        Parameters
        ----------
        size : int
            Bytes of the file.

        Returns
        -------
        tuple of (str, int) or None
            Its path and an open descriptor; None if there is no space for it, as `reserve` says.

        Raises
        ------
        OSError
            As `reserve` does.
        """
        assert fcntl is not None
        with self.reserve(cost(size)) as fits:
            if not fits:
                return None
            path = self._folder.temporary()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                # Released when its writer ends, however it ends: see `_is_abandoned`.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, size)
            except BaseException:
                os.close(descriptor)
                os.unlink(path)
                raise
            return path, descriptor

    def write_file(self, path: str, pieces: Iterable[bytes]) -> bool:
        """Write a file, which exists only once it is complete; return whether there is space for it.

        Raises
        ------
        OSError
            If the disk fails.
        """
        content = [memoryview(piece) for piece in pieces]
        size = sum(map(len, content))
        try:
            created = self.create(size)
        except FileNotFoundError:
            self._folder.restore()
            created = self.create(size)
        if created is None:
            return False
        temporary, descriptor = created
        try:
            for view in content:
                while view:
                    view = view[os.write(descriptor, view) :]
            _move(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        finally:
            os.close(descriptor)
        return True

    def clear(self) -> None:
        """Remove all files but the secret, and those that are being written.

        Raises
        ------
        OSError
            If the directory cannot be changed.
        """
        with self._locked() as usage:
            for file in self._files():
                _removed(file)
            if usage is not None:
                _write_usage(usage, sum(file.cost for file in self._files()))

    @contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Hold the lock in the block; yield the descriptor of the file, None if another holds it too long."""
        if fcntl is None:
            raise OSError(errno.ENOLCK, "no locks")
        descriptor = os.open(self._folder.usage, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor if _lock(descriptor) else None
        finally:
            # Not by the close alone: a child that was forked meanwhile has a copy of the descriptor.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _make_space(self, needed: int) -> int:
        """Remove the files that were used least recently; return the bytes that are in use then."""
        files = sorted(self._files())
        used = sum(file.cost for file in files)
        target = min(int(self.limit * _TARGET), self.limit - needed)
        if used + needed <= self.limit:
            return used
        small = sum(file.cost for file in files if file.small)
        spare = max(small - int(self.limit * _SMALL_SHARE), 0)
        kept: list[_File] = []
        for file in files:
            if used <= target:
                break
            if file.small:
                if spare <= 0:
                    kept.append(file)
                    continue
                spare -= file.cost
            used -= _removed(file)
        for file in kept:
            if used <= target:
                break
            used -= _removed(file)
        return used

    def _files(self) -> Iterator[_File]:
        """Yield all files that count, and remove what a killed writer has left."""
        # First, as a file that is renamed meanwhile may count twice, and must not be left out.
        for entry in scan(os.path.join(self._folder.root, "tmp")):
            with suppress(OSError):
                if _is_abandoned(entry.path):
                    os.unlink(entry.path)
                else:
                    size = entry.stat(follow_symlinks=False).st_size
                    yield _File(_IN_USE, cost(size), entry.path)
        for kind in ("blocks", "packs"):
            for entry in scan(os.path.join(self._folder.root, kind)):
                with suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    yield _File(found.st_mtime, cost(found.st_size), entry.path, kind == "packs")


def _move(temporary: str, path: str) -> None:
    """Rename a file to its place, whose directory an eviction may remove meanwhile."""
    for attempt in range(3):
        try:
            folder = os.path.dirname(path)
            # `os.makedirs` would apply the mode to the last directory only.
            for directory in (os.path.dirname(folder), folder):
                with suppress(FileExistsError):
                    os.mkdir(directory, 0o700)
            os.rename(temporary, path)
        except FileNotFoundError:
            if attempt == 2:
                raise
        else:
            return


def _is_abandoned(path: str) -> bool:
    """Whether the writer of a temporary file has ended, so that it holds the lock of the file no longer."""
    assert fcntl is not None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _lock(descriptor: int) -> bool:
    """Whether the lock was obtained within `_LOCK_SECONDS`."""
    assert fcntl is not None
    deadline = time.monotonic() + _LOCK_SECONDS
    delay = 0.0005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(delay)
            delay = min(delay * 2, 0.02)
        else:
            return True


def _removed(file: _File) -> int:
    """Remove a file; return the bytes that this frees."""
    if file.used == _IN_USE or not _remove(file.path):
        return 0
    return file.cost


def _remove(path: str) -> bool:
    """Remove a file, and its directory if that is empty now; return whether the file is gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    with suppress(OSError):
        os.rmdir(os.path.dirname(path))
    return True


def _read_usage(descriptor: int) -> int | None:
    """Return the number in the file; None if there is none, or it is damaged."""
    data = os.pread(descriptor, _USAGE.size, 0)
    if len(data) != _USAGE.size:
        return None
    used, check = _USAGE.unpack(data)
    return int(used) if zlib.crc32(data[:8]) == check else None


def _write_usage(descriptor: int, used: int) -> None:
    number = struct.pack("<Q", used)
    os.pwrite(descriptor, _USAGE.pack(used, zlib.crc32(number)), 0)
