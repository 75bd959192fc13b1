"""Whether two paths of universal_pathlib lead to one file: a server or a disk may have several names."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from typing import Any

from opendalfs.errors import redact
from opendalfs.fs import moves
from opendalfs.storage.local_disk import local_path, stages_writes

__all__ = ["is_alias", "is_same_local_file", "may_be_same_file", "same_file"]


def may_be_same_file(source: Any, target: Any) -> bool:
    """Whether the target may be the source, as far as their sizes and times show.

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
        found = _info(target)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return moves.may_be_same_file(_info(source), found, {_service(source), _service(target)})


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
    text = "Source and target may be the same file: choose another target"
    return OSError(errno.EINVAL, text, redact(str(source)), None, redact(str(target)))


def _info(path: Any) -> dict[str, Any]:
    found = path.stat()
    when = datetime.fromtimestamp(found.st_mtime, UTC) if found.st_mtime else None
    kind = "directory" if path.is_dir() else "file"
    return {"type": kind, "size": found.st_size, "LastModified": when}


def _service(path: Any) -> str:
    service = getattr(getattr(path, "fs", None), "service", None)
    return str(getattr(path, "protocol", "") if service is None else service.scheme)


def _local(path: Any) -> str | None:
    """Return the path on a local disk; None for all else."""
    if isinstance(path, os.PathLike):
        return str(os.fspath(path))
    if not hasattr(path.fs, "locate"):
        return None
    connection, key = path.fs.locate(path.path)
    return local_path(connection, key) if stages_writes(connection) else None
