"""The staged file of a write: the hidden file that OpenDAL writes to, renamed to its target at the end."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from opendalfs.errors import redact
from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import stages_writes
from opendalfs.storage.staged_files import is_staged_name, remove_leftover, stage_file

__all__ = ["Stage", "clear_leftovers", "remove_leftovers"]


def remove_leftovers(connection: Connection, key: str) -> None:
    """Remove the staged files that killed writers left in a directory, before the directory is removed."""
    if not stages_writes(connection):
        return
    folder = connection.local_path(key)
    with suppress(OSError):
        for name in filter(is_staged_name, os.listdir(folder)):
            remove_leftover(os.path.join(folder, name))


def clear_leftovers(connection: Connection, key: str) -> list[str]:
    """Remove the staged files that killed writers of a file, or of all files below a directory, have left.

    Parameters
    ----------
    connection : Connection
        Of a local disk.
    key : str
        Key of a file, which need not exist, or of a directory.

    Returns
    -------
    list of str
        The keys of the staged files, in their order.
    """
    target = connection.local_path(key.rstrip("/"))
    if os.path.isdir(target):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(target) for name in names]
    else:
        folder, name = os.path.split(target)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        # Names of more than 50 characters are cut in those of their staged files.
        found = [os.path.join(folder, other) for other in names if other.startswith(f".{name[:50]}.")]
    staged = [path for path in sorted(found) if is_staged_name(os.path.basename(path))]
    root = connection.local_path("")
    return [os.path.relpath(path, root).replace(os.sep, "/") for path in staged if remove_leftover(path)]


class Stage:
    """The staged file of one write.

    Parameters
    ----------
    connection : Connection
        The connection that stores the target.
    key : str
        Key of the target.

    Attributes
    ----------
    key : str
        Key of the staged file.

    Raises
    ------
    OSError
        If the staged file cannot be created. The error names the target.
    """

    def __init__(self, connection: Connection, key: str) -> None:
        self._connection = connection
        self._target = key
        # With this option OpenDAL replaces the staged file by a rename of its own.
        lock = "atomic_write_dir" not in connection.native
        try:
            self._file = stage_file(connection.local_path(key), parents=True, lock=lock)
        except OSError as exc:
            raise self._with_target(exc) from exc.__cause__
        self._file.close()
        folder, slash, _ = key.rpartition("/")
        self.key = f"{folder}{slash}{self._file.name}"

    def _with_target(self, exc: OSError) -> OSError:
        """Return the error with the name of the target."""
        exc.filename = redact(self._connection.name(self._target))
        if not isinstance(exc, FileExistsError):
            return exc
        # The name of a staged file is free, so it is the directory that exists, as a file.
        return NotADirectoryError(errno.ENOTDIR, "Not a directory", exc.filename)

    @contextmanager
    def errors_name_target(self) -> Iterator[str]:
        """Return the key of the staged file, and raise its errors with the name of the target."""
        try:
            yield self.key
        except OSError as exc:
            if exc.filename != redact(self._connection.name(self.key)):
                raise
            raise self._with_target(exc) from exc.__cause__

    async def publish(self, exclusive: bool = False) -> None:
        """Rename the staged file to its target.

        Parameters
        ----------
        exclusive : bool
            Fail with FileExistsError if the target exists.

        Raises
        ------
        OSError
            If another program has removed or replaced the staged file, or it cannot be renamed.
        """
        self._check()
        await self._connection.publish(self.key, self._target, exclusive)
        self._file.published()

    def publish_blocking(self, exclusive: bool = False) -> None:
        """Do what `publish` does, in the caller's thread."""
        self._check()
        self._connection.publish_blocking(self.key, self._target, exclusive)
        self._file.published()

    def _check(self) -> None:
        if not self._file.is_there():
            raise OSError(
                errno.ESTALE,
                "Not published: another program removed or replaced the staged file. Write it again",
                self._connection.name(self._target),
            )

    def remove(self) -> None:
        """Remove the staged file, unless it was published."""
        self._file.remove()
