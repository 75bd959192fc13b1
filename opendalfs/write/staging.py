"""The staged file of a write, as a key that OpenDAL can write to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from opendalfs.errors import redact
from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import stages_writes
from opendalfs.storage.staged_files import is_staged_name, remove_leftover, stage_file

__all__ = ["Stage", "remove_leftovers"]


def remove_leftovers(connection: Connection, key: str) -> None:
    """Remove the staged files that killed writers left in a directory, which is to be removed itself."""
    if not stages_writes(connection):
        return
    folder = connection.local(key)
    with suppress(OSError):
        for name in filter(is_staged_name, os.listdir(folder)):
            remove_leftover(os.path.join(folder, name))


class Stage:
    """The staged file of one write: OpenDAL writes to it, and it is renamed at the end.

    Parameters
    ----------
    connection : Connection
        Where the target is.
    key : str
        Key of the target.

    Raises
    ------
    OSError
        When the staged file cannot be created; it names the target.
    """

    def __init__(self, connection: Connection, key: str) -> None:
        self._connection = connection
        self._target = key
        # OpenDAL replaces the staged file by a rename of its own when it has this option.
        lock = "atomic_write_dir" not in connection.native
        try:
            self._file = stage_file(connection.local(key), parents=True, lock=lock)
        except OSError as exc:
            raise self._named(exc) from exc.__cause__
        self._file.close()
        folder, slash, _ = key.rpartition("/")
        self.key = f"{folder}{slash}{self._file.name}"

    def _named(self, exc: OSError) -> OSError:
        """Return the error with the target's name."""
        exc.filename = redact(self._connection.name(self._target))
        if not isinstance(exc, FileExistsError):
            return exc
        # The name of a staged file is free, so it is the directory that exists, as a file.
        return NotADirectoryError(errno.ENOTDIR, "Not a directory", exc.filename)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let errors of the staged file name the target."""
        try:
            yield
        except OSError as exc:
            if exc.filename != redact(self._connection.name(self.key)):
                raise
            raise self._named(exc) from exc.__cause__

    def check(self) -> None:
        """Raise when another program has removed or replaced the staged file."""
        if not self._file.is_there():
            raise OSError(
                errno.ESTALE,
                "Not published: another program removed or replaced the staged file. Write it again",
                self._connection.name(self._target),
            )

    def published(self) -> None:
        """Release the staged file after its rename."""
        self._file.published()

    def remove(self) -> None:
        """Remove the staged file; of one that was published nothing is removed."""
        self._file.remove()
