"""Operations that OpenDAL's service for local disks lacks: links, devices, exclusive renames, file modes.

Listings show a link to a directory and do not enter it, like fsspec's LocalFileSystem and ``os.walk``, so
that every listing ends and shows each file once. A copy of content includes what a link leads to; a move or
removal concerns the link itself. A write replaces the file that a link leads to, and never a pipe or a
device.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

from opendal.types import Entry

from opendalfs.errors import UnsupportedError
from opendalfs.services import Form, Locality

from .operator_pair import OperatorPair
from .staged_files import stage_file

__all__ = [
    "check_listed",
    "copy_mode",
    "enter_link",
    "is_link",
    "is_link_to_directory",
    "is_special_file",
    "link_target",
    "local_path",
    "move_link",
    "rename_exclusively",
    "replace_file",
    "stages_writes",
]

_NO_HARD_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Errors of disks without hard links, such as FAT and some network shares."""


def stages_writes(operators: OperatorPair) -> bool:
    """Whether writes go to a staged file first: on local disks, where an unfinished file would show."""
    return operators.service.locality is Locality.DISK and operators.can("rename")


def local_path(operators: OperatorPair, key: str) -> str:
    """Return the path of a key on this machine's disk."""
    return os.path.join(operators.native.get("root") or "/", key)


def is_link(operators: OperatorPair, key: str) -> bool:
    """Whether a key is a symbolic link; False without a look at the disk where there are no links."""
    return operators.service.form is Form.ABSOLUTE and os.path.islink(local_path(operators, key))


def is_link_to_directory(operators: OperatorPair, entry: Entry) -> bool:
    """Whether a listed entry is a link to a directory, which OpenDAL lists without the slash."""
    is_folder = entry.metadata.is_dir and not entry.path.endswith("/")
    return is_folder and operators.service.form is Form.ABSOLUTE


def link_target(operators: OperatorPair, key: str) -> str | None:
    """Return the path of the file that a write to a link replaces; None if the key is no link.

    Parameters
    ----------
    operators : OperatorPair
        Of a local disk.
    key : str
        Key of a file, which need not exist.

    Raises
    ------
    OSError
        For links that lead to each other.
    PermissionError
        For a file that this user may not write.
    UnsupportedError
        For a pipe or a device: OpenDAL seeks in what it writes, and a rename would replace it by a file.
    """
    path = local_path(operators, key)
    if is_special_file(path):
        raise UnsupportedError(
            errno.ENOTSUP, "Is a pipe or a device, which OpenDAL cannot write to", operators.name(key)
        )
    # Another process may create or remove the file at any moment.
    if os.path.exists(path) and not os.access(path, os.W_OK) and os.path.exists(path):
        # A rename checks the permissions of the directory only.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), operators.name(key))
    if not is_link(operators, key):
        return None
    path = os.path.realpath(path)
    if os.path.islink(path):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), operators.name(key))
    return path


def is_special_file(path: str) -> bool:
    """Whether a path is, or leads to, a pipe or device, which nothing may replace."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_listed(operators: OperatorPair, key: str) -> None:
    """Raise for a listed directory of a local disk that has another name on the disk.

    OpenDAL replaces what is no UTF-8, removes white space at the end, and then finds no directory of that
    name. One that was removed meanwhile is no error.

    Raises
    ------
    OSError
        With the errno EILSEQ.
    """
    if not stages_writes(operators):
        return
    path = local_path(operators, key)
    if os.path.lexists(path):
        return
    parent, name = os.path.split(path)
    with suppress(FileNotFoundError):
        for found in os.listdir(os.fsencode(parent)):
            if found.decode(errors="replace").rstrip() == name:
                text = "OpenDAL cannot list a directory whose name is not UTF-8 or ends in a blank: rename it"
                raise OSError(errno.EILSEQ, text, operators.name(key))


def enter_link(operators: OperatorPair, key: str, entered: Sequence[str]) -> list[str]:
    """Enter a link to a directory, unless it leads back to a directory above it.

    Parameters
    ----------
    operators : OperatorPair
        Of a local disk.
    key : str
        Key of the link.
    entered : sequence of str
        The directories that hold the links which were entered before it.

    Returns
    -------
    list of str
        `entered`, and the directory that holds this link.

    Raises
    ------
    OSError
        When the link leads to one of these directories, or above one: what lies below would never end.
    """
    path = local_path(operators, key)
    target = os.path.join(os.path.realpath(path), "")
    longer = [*entered, os.path.join(os.path.realpath(os.path.dirname(path)), "")]
    if any(folder.startswith(target) for folder in longer):
        raise OSError(
            errno.ELOOP,
            "The link leads to a directory that contains it: copy the directory without the link",
            operators.name(key),
        )
    return longer


def move_link(link: str, target: str) -> None:
    """Move a link itself; OpenDAL would move the file that it leads to."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.rename(link, target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        os.symlink(os.readlink(link), target)
        os.unlink(link)


def rename_exclusively(source: str, target: str) -> None:
    """Rename a file, and raise FileExistsError when there is one of the new name."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        # An empty file shows for a moment, but of two writers only one creates it.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(source, target)
    else:
        os.unlink(source)


def copy_mode(source: str, target: str) -> None:
    """Copy the mode of a file that is to be replaced, so that a private file stays private."""
    # A file of another owner cannot be changed, and a missing one has no mode.
    with suppress(OSError):
        os.chmod(target, stat.S_IMODE(os.stat(source).st_mode))


@contextmanager
def replace_file(target: str) -> Iterator[BinaryIO]:
    """Open a staged file that replaces a local file when the block ends, and keeps its mode.

    Parameters
    ----------
    target : str
        Path on this machine's disk. A link stays, and the file that it leads to is replaced. If the block
        fails, the file is unchanged.

    Yields
    ------
    binary file

    Raises
    ------
    IsADirectoryError
        When the target is a directory.
    OSError
        With the name of the target, not that of the staged file.
    """
    target = target.rstrip(os.sep) or os.sep
    # To resolve the whole path takes a look at the disk for each of its parts.
    if os.path.islink(target):
        target = os.path.realpath(target)
    mode = None
    with suppress(FileNotFoundError):
        mode = os.stat(target).st_mode
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", target)
    try:
        staged = stage_file(target)
    except OSError as exc:
        exc.filename = target
        raise
    try:
        with open(staged.descriptor, "wb", closefd=False) as file:
            if mode is not None:
                os.chmod(file.fileno() if os.chmod in os.supports_fd else staged.path, stat.S_IMODE(mode))
            yield file
        staged.close()
        os.replace(staged.path, target)
        staged.published()
    except OSError as exc:
        if exc.filename == staged.path:
            exc.filename = target
        raise
    finally:
        staged.remove()
