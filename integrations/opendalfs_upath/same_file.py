"""Whether two paths lead to one file: a server or a disk may have several names.

A move to another filesystem removes its source after the copy, which would be the only file then.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from opendalfs.errors import redact
from opendalfs.storage.local_disk import local_path, stages_writes

__all__ = ["is_alias", "is_same_local_file", "may_be_same_file", "same_file"]

_EXACT_SECONDS: Final = 1.0
_TIMES_IN_MINUTES: Final = frozenset({"ftp", "opendal+ftp", "opendalftp"})
"""Protocols whose times are too inexact, and may be of another time zone."""


def may_be_same_file(source: Any, target: Any) -> bool:
    """Whether the target is a file of the size and the time of the source.

    Parameters
    ----------
    source, target : UPath
        The paths.

    Returns
    -------
    bool
        False for a directory: universal_pathlib copies none onto another.
    """
    try:
        found = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    own = source.stat()
    if target.is_dir() or source.is_dir() or found.st_size != own.st_size:
        return False
    if not {source.protocol, target.protocol}.isdisjoint(_TIMES_IN_MINUTES):
        return True
    times = own.st_mtime, found.st_mtime
    return not all(times) or abs(times[0] - times[1]) < _EXACT_SECONDS


def is_alias(source: Any, target: Any) -> bool:
    """Whether two URLs of one path, as of opendalfs and of s3fs, may lead to one file."""
    services = [getattr(getattr(path, "fs", None), "service", None) for path in (source, target)]
    if None not in services and services[0] is not services[1]:
        return False
    return getattr(source, "path", None) == target.path and may_be_same_file(source, target)


def is_same_local_file(source: Any, target: Any) -> bool:
    """Whether both paths lead to one file of a local disk, which a copy would truncate."""
    one, other = _local(source), _local(target)
    if one is None or other is None:
        return False
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def same_file(source: Any, target: Any) -> OSError:
    """Return the error for two paths that are, or may be, one file."""
    text = "Source and target may be the same file: copy it, compare, and remove the source"
    return OSError(errno.EINVAL, text, redact(str(source)), None, redact(str(target)))


def _local(path: Any) -> str | None:
    """Return the path on a local disk; None for all else."""
    if isinstance(path, os.PathLike):
        return str(os.fspath(path))
    if not hasattr(path.fs, "locate"):
        return None
    connection, key = path.fs.locate(path.path)
    return local_path(connection, key) if stages_writes(connection) else None
