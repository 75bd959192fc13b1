"""Local disks hold more than files and directories: what links, pipes and devices stand for.

Listings show a link to a directory and do not go into it, as fsspec's LocalFileSystem and ``os.walk`` do, so
that none is endless and none shows a file twice. What copies content takes along what a link leads to; what
moves or removes takes the link. A write replaces what a link leads to, and never a pipe or a device.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from opendal.types import Entry

from opendalfs.errors import UnsupportedError
from opendalfs.services import Form, Home
from opendalfs.urls import check_key

from .connection import Connection
from .operators import connect

__all__ = ["entered", "followed", "is_special", "leads_to_folder", "stages_writes"]


def stages_writes(connection: Connection) -> bool:
    """Whether writes go to a staged file first: on local disks, where an unfinished file would show."""
    return connection.service.home is Home.DISK and connection.can("rename")


def leads_to_folder(connection: Connection, entry: Entry) -> bool:
    """Tell whether a listed entry is a link to a directory, which OpenDAL lists without the slash."""
    is_folder = entry.metadata.is_dir and not entry.path.endswith("/")
    return is_folder and connection.service.form is Form.ABSOLUTE


def followed(connection: Connection, key: str) -> tuple[Connection, str]:
    """Give the place that a write to a key replaces, which for a link is where it leads.

    Parameters
    ----------
    connection : Connection
        Where the key is.
    key : str
        Of a file, which need not be there.

    Returns
    -------
    Connection
        Another one for a link, as it may lead out of the root.
    str

    Raises
    ------
    OSError
        For links that lead to each other.
    PermissionError
        For a file that may not be written to.
    UnsupportedError
        For a pipe or a device: OpenDAL seeks in what it writes, and a rename would put a file in its place.
    """
    place = connection.local(key)
    if is_special(place):
        raise UnsupportedError(
            errno.ENOTSUP, "A pipe or a device is there, which OpenDAL cannot write to", connection.name(key)
        )
    if not os.access(place, os.W_OK) and os.path.exists(place):
        # A rename asks the directory only.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), connection.name(key))
    if not connection.is_link(key):
        return connection, key
    place = os.path.realpath(place)
    if os.path.islink(place):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), connection.name(key))
    options = {name: value for name, value in connection.native.items() if name != "root"}
    whole = connect(connection.service, options, connection.tuning, "/")
    return whole, check_key(place.lstrip("/"), place)


def is_special(place: str) -> bool:
    """Tell whether a pipe or device is there, or where a link leads: nothing may take its place."""
    try:
        mode = os.stat(place).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def entered(connection: Connection, key: str, way: Sequence[str]) -> list[str]:
    """Go into a link to a directory, unless it leads back.

    Parameters
    ----------
    connection : Connection
        Where the link is.
    key : str
        Its key.
    way : sequence of str
        The directories on this machine in which the links lay that were entered before it.

    Returns
    -------
    list of str
        The way, and the directory that holds this link.

    Raises
    ------
    OSError
        When the link leads to a directory on its way, or above one: what lies below would never end.
    """
    place = connection.local(key)
    target = os.path.join(os.path.realpath(place), "")
    longer = [*way, os.path.join(os.path.realpath(os.path.dirname(place)), "")]
    if any(folder.startswith(target) for folder in longer):
        raise OSError(
            errno.ELOOP, "The link leads to a directory that holds it: copy without it", connection.name(key)
        )
    return longer
