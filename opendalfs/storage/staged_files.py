"""Staged files: the target of a write to a local disk until a rename publishes it.

A staged file is ``.<name>.<20 hex digits>.part`` beside its target. The digits are a digest of the target's
name (8), one of this machine's name (4) and a number (8). Listings exclude these files.

A writer holds a lock (``flock``) on its staged file from its creation to its publication. The next write of
the same file takes the first free number, so it finds a file that a killed writer has left, and removes it.
That is safe:

- It removes only a file whose lock it holds. The kernel releases a lock when the last process that holds it
  ends, and not before, so the lock of a live writer, or of a fork of it, is never free.
- With the lock it checks that the name is still that of the locked file. A published file has lost that name
  before its lock is released.
- Two machines never share a name, as locks may not reach across a network disk.
- It removes only files of its own user.

Without locks nothing is removed, and the number is random. SMB counts as without: its locks keep all other
descriptors from writing, and OpenDAL writes with its own (flock(2), "CIFS details").
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from contextlib import suppress
from functools import cache
from itertools import count
from stat import S_ISREG
from types import ModuleType
from typing import Final

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # pragma: no cover  # Windows
    fcntl = None

__all__ = ["StagedFile", "is_staged_name", "remove_leftover", "stage_file"]

_MAX_NAME: Final = 50
"""Characters of the target's name in that of the staged file: at four bytes each they fit into 255 bytes."""

_STAGED: Final = re.compile(r"\.(?P<name>.{1,50})\.(?P<digest>[0-9a-f]{8})[0-9a-f]{12}\.part", re.DOTALL)

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_usable: dict[int, bool] = {}
"""Whether locks can be used, by device."""

_OPEN: Final = os.O_RDWR | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


def is_staged_name(name: str) -> bool:
    """Whether a name is the name of a staged file.

    Parameters
    ----------
    name : str
        Last part of a path.

    Returns
    -------
    bool
        False for names that only look similar: the digest must be that of the target's name. The digest of
        names of 50 characters or more cannot be checked, as the staged file's name has only a part of them.

    Examples
    --------
    >>> is_staged_name(_name("a.csv", 0))
    True
    >>> is_staged_name(".b.csv.0123456789abcdef0123.part")
    False
    """
    if not name.endswith(".part"):
        return False
    found = _STAGED.fullmatch(name)
    if found is None:
        return False
    return len(found["name"]) == _MAX_NAME or found["digest"] == _digest(found["name"], 4)


class StagedFile:
    """A staged file of this process, made by `stage_file`; end it by `published` or `remove`.

    Parameters
    ----------
    path : str
        Its path.
    descriptor : int
        Open for reading and writing.
    locked : bool
        Whether the descriptor holds the lock.
    """

    def __init__(self, path: str, descriptor: int, locked: bool) -> None:
        self.path = path
        self.descriptor = descriptor
        self._locked = locked
        self._ended = False
        self._pid = os.getpid()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.path)

    def close(self) -> None:
        """Close the descriptor, unless it holds the lock: Windows renames no open file."""
        if not self._locked:
            self._release()

    def is_there(self) -> bool:
        """Whether the path is still that of this file, so that it may be published."""
        return not self._locked or _is_same_file(self.path, self.descriptor)

    def published(self) -> None:
        """Release the lock, after the rename to the target."""
        self._ended = True
        self._release()

    def remove(self) -> None:
        """Remove the file; a forked child only closes its copy of the descriptor."""
        if self._ended:
            return
        self._ended = True
        if self._pid == os.getpid() and self.is_there():
            with suppress(OSError):
                os.unlink(self.path)
        self._release()

    def _release(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        """Remove a file that was neither published nor removed."""
        if hasattr(self, "_pid"):
            self.remove()


def stage_file(target: str, *, parents: bool = False, lock: bool = True) -> StagedFile:
    """Create a staged file, and remove those that killed writers of the same target have left.

    Parameters
    ----------
    target : str
        Path of the file that it will replace.
    parents : bool
        Whether to create missing parent directories.
    lock : bool
        False when another program replaces the staged file, so that a lock on it would have no effect.

    Returns
    -------
    StagedFile

    Raises
    ------
    OSError
        When the file cannot be created; its ``filename`` is that of the staged file or of a parent directory.
    """
    folder, name = os.path.split(target)
    try:
        return _stage(folder, name, lock)
    except FileNotFoundError:
        if not parents:
            raise
    os.makedirs(folder, exist_ok=True)
    return _stage(folder, name, lock)


def _stage(folder: str, name: str, lock: bool) -> StagedFile:
    staged = _stage_locked(folder, name) if lock and _locks_usable(folder) else None
    if staged is None:
        path = os.path.join(folder, _name(name, secrets.randbits(32)))
        staged = StagedFile(path, os.open(path, _CREATE, 0o666), locked=False)
    return staged


def _locks_usable(folder: str) -> bool:
    """Whether a locked file in a directory can be written with another descriptor, and identified.

    Locks a file to find out, once for each device.
    """
    if fcntl is None:
        return False
    device = os.stat(folder or os.curdir).st_dev
    if device not in _usable:
        path = os.path.join(folder, _name("lock", secrets.randbits(32)))
        _usable[device] = _try_lock(path)
    return _usable[device]


def _try_lock(path: str) -> bool:
    assert fcntl is not None
    descriptor = os.open(path, _CREATE, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Some disks report a refused write only when the file is closed.
        with open(path, "r+b", buffering=0) as other:
            other.write(b"x")
        return _is_same_file(path, descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(path)


def _stage_locked(folder: str, name: str) -> StagedFile | None:
    """Create and lock the staged file with the first free number; None if the disk has no locks."""
    assert fcntl is not None
    for number in count():
        path = os.path.join(folder, _name(name, number))
        descriptor = _create(path)
        if descriptor is None and remove_leftover(path):
            descriptor = _create(path)
        if descriptor is None:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = _is_same_file(path, descriptor)
        except BlockingIOError:
            # Another writer takes this file for a leftover, and removes it.
            locked = False
        except OSError:
            os.close(descriptor)
            os.unlink(path)
            return None
        if locked:
            _remove_leftovers(folder, name, number + 1)
            return StagedFile(path, descriptor, locked=True)
        os.close(descriptor)
    raise AssertionError("not reached")


def _create(path: str) -> int | None:
    """Create a file, and return its descriptor; None when the name is taken."""
    try:
        return os.open(path, _CREATE, 0o666)
    except FileExistsError:
        return None


def _remove_leftovers(folder: str, name: str, number: int) -> None:
    """Remove the files of killed writers with the following numbers, up to the first free one."""
    for later in count(number):
        path = os.path.join(folder, _name(name, later))
        if not os.path.lexists(path):
            break
        remove_leftover(path)


def remove_leftover(path: str) -> bool:
    """Remove a staged file whose writer is dead.

    Parameters
    ----------
    path : str
        Path of the staged file.

    Returns
    -------
    bool
        False when its writer is alive, or may be.
    """
    try:
        if fcntl is None or not _locks_usable(os.path.dirname(path)):
            return False
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        if not S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return False
        if _is_same_file(path, descriptor):
            os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_same_file(path: str, descriptor: int) -> bool:
    try:
        there, ours = os.lstat(path), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _name(name: str, number: int) -> str:
    return f".{name[:_MAX_NAME]}.{_digest(name, 4)}{_machine()}{number:08x}.part"


def _digest(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=size).hexdigest()


@cache
def _machine() -> str:
    return _digest(socket.gethostname(), 2)
