"""Which removals and moves are refused: those of whole containers, and those of ``.`` and ``..``."""

from __future__ import annotations

import errno
import os
from typing import Final

from opendalfs.errors import redact
from opendalfs.services import Form
from opendalfs.storage.connection import Connection

__all__ = ["check_removal"]

_DOTS: Final = frozenset({".", ".."})

_WHOLE: Final = (
    "Refused: this is a whole container. To do it on purpose, pass its entries, fs.ls(path, detail=False)"
)
_DISK: Final = "Refused: this is the root of the disk"


def check_removal(connection: Connection, key: str, path: str, *, recursive: bool) -> None:
    """Raise when a path must not be removed or moved with all that is below it.

    An empty variable in a path is enough to name a whole bucket by accident, so a container is emptied only
    by naming its entries.

    Parameters
    ----------
    connection : Connection
        To the container of the path.
    key : str
        The key of the path, which may hold wildcards.
    path : str
        The path as the user wrote it, for the message and for ``.`` and ``..``, which local paths resolve.
    recursive : bool
        Whether what is below the path goes too. A pattern that matches everything is refused in any case.

    Raises
    ------
    PermissionError
        For the root of a container, of a filesystem or of the disk; for a pattern of nothing but ``*`` there;
        for a path that ends in ``.`` or ``..``.
    """
    if path.rstrip("/").rpartition("/")[2] in _DOTS:
        raise PermissionError(errno.EPERM, "Refused: the path ends in '.' or '..'", redact(path))
    everything = bool(key) and set(key) <= {"*", "/"}
    if everything or (recursive and _is_root(connection, key)):
        raise PermissionError(errno.EPERM, _whole(connection), redact(path))


def _whole(connection: Connection) -> str:
    on_disk = connection.service.form is Form.ABSOLUTE and _real(connection, "") == os.path.realpath("/")
    return _DISK if on_disk else _WHOLE


def _is_root(connection: Connection, key: str) -> bool:
    if not key:
        return True
    if connection.service.form is not Form.ABSOLUTE or connection.is_link(key):
        # Of a link only the link itself is removed.
        return False
    # Links on the way may lead back to the root, or above it.
    root, place = _real(connection, ""), _real(connection, key)
    return os.path.commonpath([root, place]) == place


def _real(connection: Connection, key: str) -> str:
    return os.path.realpath(connection.local(key))
