"""The directory of a cache: who may use it, its secret, and the paths of its files."""

from __future__ import annotations

import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

__all__ = ["CacheFolder", "Refused", "scan"]

FORMAT: Final = "opendalfs-1"
"""Name of the subdirectory. Another version of the format has another name, and leaves this one alone."""

_SECRET_SIZE: Final = 32


class Refused(OSError):
    """Raised if a directory is not safe: other users could read the cache or write into it."""


class CacheFolder:
    """The directory of a cache, which is created if it does not exist.

    Parameters
    ----------
    path : str
        The directory that the user has named. All files are in a subdirectory of mode 0700.
    create : bool
        Whether to create what is missing.

    Attributes
    ----------
    root : str
        The subdirectory.
    secret : bytes
        Key of all digests, so that the names of files do not reveal what is cached.

    Raises
    ------
    Refused
        If the directory belongs to another user, or others may write into it.
    OSError
        If it cannot be created or read.
    """

    def __init__(self, path: str, *, create: bool = True) -> None:
        self.path = path
        self.root = os.path.join(path, FORMAT)
        self._names = itertools.count()
        self.secret = b""
        if create:
            # Another process may be about to create them, or the disk may be read-only.
            with suppress(OSError):
                self._make_directories()
        _check(path, stat.S_IWGRP | stat.S_IWOTH)
        _check(self.root, stat.S_IRWXG | stat.S_IRWXO)
        if create:
            with suppress(OSError):
                self._write_secret(secrets.token_bytes(_SECRET_SIZE))
        self.secret = self._read_secret()

    def blocks(self, digest: bytes) -> str:
        """Return the directory of the blocks of one version of an object."""
        name = digest.hex()
        return os.path.join(self.root, "blocks", name[:2], name[2:])

    def digest(self, path: str) -> bytes:
        """Return the digest of the version whose blocks are in the directory of a file."""
        *_, first, rest, _ = path.split(os.sep)
        return bytes.fromhex(first + rest)

    def temporary(self) -> str:
        """Return a path that no other writer uses, on the same disk as all files of the cache."""
        name = f"{os.getpid()}-{next(self._names)}-{secrets.token_hex(4)}"
        return os.path.join(self.root, "tmp", name)

    @property
    def marks(self) -> str:
        """Path of the file of the marks that changes replace."""
        return os.path.join(self.root, "marks")

    @property
    def usage(self) -> str:
        """Path of the file that is locked for changes of the size, and that holds it."""
        return os.path.join(self.root, "usage")

    def restore(self) -> None:
        """Create directories and the secret again, after somebody has removed them.

        Raises
        ------
        OSError
            If that is not possible, or the directory is not safe now.
        """
        self._make_directories()
        _check(self.path, stat.S_IWGRP | stat.S_IWOTH)
        _check(self.root, stat.S_IRWXG | stat.S_IRWXO)
        self._write_secret(self.secret)

    def _make_directories(self) -> None:
        parent = os.path.dirname(self.path)
        if parent:
            os.makedirs(parent, exist_ok=True)
        for folder in (self.path, self.root, *(os.path.join(self.root, name) for name in _FOLDERS)):
            with suppress(FileExistsError):
                os.mkdir(folder, 0o700)

    def _write_secret(self, secret: bytes) -> None:
        """Write the secret, unless there is one: a link never replaces a file, and is never incomplete.

        One that a machine has lost as it crashed is replaced: to sync it would delay the first read.
        """
        target = os.path.join(self.root, "secret")
        with suppress(FileNotFoundError):
            if os.stat(target).st_size == _SECRET_SIZE:
                return
            os.unlink(target)
        path = self.temporary()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secret)
            with suppress(FileExistsError):
                os.link(path, target)
        finally:
            os.close(descriptor)
            os.unlink(path)

    def _read_secret(self) -> bytes:
        with open(os.path.join(self.root, "secret"), "rb") as file:
            secret = file.read(_SECRET_SIZE + 1)
        if len(secret) != _SECRET_SIZE:
            raise OSError(f"the secret of the cache is damaged: {self.root}")
        return secret


_FOLDERS: Final = ("tmp", "blocks", "packs")


def scan(root: str) -> Iterator[os.DirEntry[str]]:
    """Yield all files below a directory; what disappears meanwhile is left out."""
    folders = [root]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        yield entry
        except OSError:
            continue


def _check(path: str, forbidden: int) -> None:
    """Raise unless a directory belongs to this user and has none of some permissions."""
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise Refused(f"cache_dir is no directory: {path}")
    if found.st_uid != os.geteuid():
        raise Refused(f"cache_dir belongs to another user: {path}: choose a directory of your own")
    if found.st_mode & forbidden:
        raise Refused(f"other users have access to cache_dir: {path}: chmod 700, or choose another")
