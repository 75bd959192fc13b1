"""The filesystem and the path that an argument of the command line names."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from glob import has_magic
from typing import Any

from opendalfs.errors import redact, without_userinfo
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.fs.registry import from_source, url_to_fs
from opendalfs.fs.services import FsFileSystem

from .failures import USAGE, Failure

__all__ = ["Location", "check_named", "matches", "open_location"]


@dataclass(frozen=True, slots=True)
class Location:
    """A path of a filesystem, and how the user wrote it.

    Parameters
    ----------
    text : str
        The argument.
    fs : OpendalFileSystem
        The filesystem.
    path : str
        The path in it, without a slash at its end.
    """

    text: str
    fs: OpendalFileSystem
    path: str

    @property
    def is_local(self) -> bool:
        """Whether the path is on a disk of this machine."""
        return isinstance(self.fs, FsFileSystem)

    @property
    def is_folder(self) -> bool:
        """Whether the argument ends in a slash, which only a directory does."""
        return self.text.endswith("/")

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.rpartition("/")[2]

    def url(self, path: str | None = None) -> str:
        """Return the URL of a path of the filesystem, by default of its own; a local path stays a path."""
        path = self.path if path is None else path
        if self.is_local and "://" not in self.text:
            return path
        return without_userinfo(self.fs.unstrip_protocol(path))

    def at(self, path: str) -> Location:
        """Return the location of another path of the same filesystem."""
        return Location(self.url(path), self.fs, path)

    def info(self, refresh: bool = False) -> dict[str, Any]:
        """Return the info of the path; FileNotFoundError if nothing is there."""
        info: dict[str, Any] = self.fs.info(self.path, refresh=refresh)
        return info


def open_location(text: str, options: Mapping[str, str] | None = None) -> Location:
    """Return the location of an argument.

    Parameters
    ----------
    text : str
        A URL, or a path of the local disk.
    options : Mapping, optional
        Options of the service of a URL.

    Returns
    -------
    Location

    Raises
    ------
    Failure
        For an empty argument, which would name the current directory.
    OptionError, ValueError
        For a wrong option or URL.
    """
    if not text:
        raise Failure("an argument is empty: is a variable of the shell not set?", USAGE)
    if "://" not in text:
        return Location(text, from_source("fs", **(options or {})), _absolute(text))
    return Location(text, *url_to_fs(text, **(options or {})))


def _absolute(text: str) -> str:
    """Return the absolute path of a local argument.

    As in Unix, ``link/..`` is the parent of what a link leads to. A link at the end stays.
    """
    parts = text.split(os.sep)
    if os.pardir not in parts:
        return os.path.abspath(text)
    count = len(parts) - parts[::-1].index(os.pardir)
    above = os.path.realpath(os.sep.join(parts[:count]))
    return os.path.abspath(os.path.join(above, *parts[count:]))


def check_named(text: str) -> None:
    """Raise Failure for a path that ends in ``.`` or ``..``, which `open_location` replaces by a name."""
    if "://" not in text and os.path.basename(text.rstrip("/" + os.sep)) in (".", ".."):
        raise Failure(f"{text} ends in '.' or '..': pass the name of the directory")


def matches(location: Location) -> list[Location]:
    """Return the locations that an argument stands for: its own, or those that match it as a pattern.

    A file whose name looks like a pattern is meant itself, if it exists.

    Raises
    ------
    FileNotFoundError
        If no path matches a pattern. Whether another path exists is not looked up.
    """
    if not has_magic(location.path) or location.fs.exists(location.path, refresh=True):
        return [location]
    found = [location.at(path) for path in location.fs.glob(location.path, refresh=True)]
    if not found:
        raise FileNotFoundError(errno.ENOENT, "No file matches the pattern", redact(location.text))
    return found
