"""The class of universal_pathlib for URLs of opendalfs, which ``UPath("opendal+s3://bucket/key")`` finds."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from glob import has_magic
from typing import Any

import fsspec

from opendalfs import installation, urls
from opendalfs.errors import redact
from opendalfs.fs.expansion import list_tree
from opendalfs.fs.moves import move
from opendalfs.fs.removal import check_removal, remove_listed, remove_tree
from opendalfs.fs.service_filesystem import ServiceFileSystem
from opendalfs.runtime.tasks import run
from opendalfs.services import Form, lookup

from .same_file import is_alias, is_same_local_file, may_be_same_file, same_file

installation.require("universal-pathlib")

from upath import UPath

__all__ = ["OpendalPath"]


class OpendalPath(UPath):
    """A path on a service of opendalfs, with the methods of `pathlib.Path`.

    Parameters
    ----------
    *args : str or path-like
        A URL, or a path together with `protocol`, and parts to be joined to it.
    protocol : str, optional
        URL scheme, such as ``"opendal+s3"``. universal_pathlib recognizes no URL whose scheme has a hyphen:
        pass the path and ``protocol="opendal+hdfs-native"``.
    **storage_options
        Options of the service.

    Raises
    ------
    ValueError
        For a URL that names another server than the options; for a path that contains ``::``.

    Examples
    --------
    >>> from upath import UPath
    >>> path = UPath("opendal+memory://upath/report.txt")
    >>> path.write_text("done")
    4
    >>> [str(found) for found in path.parent.glob("*.txt")]
    ['opendal+memory://upath/report.txt']
    """

    __slots__ = ()

    @classmethod
    def _transform_init_args(
        cls, args: tuple[Any, ...], protocol: str, storage_options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], str, dict[str, Any]]:
        """Return the arguments with a path instead of a URL, and the server of the URL as an option.

        This is the hook of universal_pathlib for subclasses. By itself, it compares only the part of a URL's
        scheme before the ``+`` with the protocol, and forgets the server when it joins paths.
        """
        first, *parts = args or ("",)
        if isinstance(first, UPath) and first.is_absolute():
            storage_options = {**first.storage_options, **storage_options}
            first = first.path
        elif isinstance(first, os.PathLike):
            first = os.fspath(first)
        if isinstance(first, str):
            fs_class = _load_class(protocol)
            storage_options = {**_url_options(fs_class, first, storage_options), **storage_options}
            first = fs_class._strip_protocol(first)
        for part in (first, *parts):
            if "::" in str(part):
                raise ValueError(
                    f"a UPath cannot contain {redact(str(part))!r}: use opendalfs.filesystem(...)\n"
                    "universal_pathlib takes '::' for the end of a URL."
                )
        if first and any(str(part).startswith("/") for part in parts) and lookup(protocol).container:
            raise ValueError(
                f"{parts!r} joined to {first!r} would be in another {lookup(protocol).container}: remove the "
                "leading slash"
            )
        return (first, *parts), protocol, storage_options

    # universal_pathlib removes and renames with methods of fsspec, which take "a[1].csv" for a pattern: they
    # would remove "a1.csv".

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove this file."""
        try:
            self.fs.rm_file(self.path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self, recursive: bool = True) -> None:
        """Remove this directory, by default with all that is below it, as in universal_pathlib."""
        if not self.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", redact(str(self)))
        if recursive:
            run(remove_tree, self.fs, self.path)
        else:
            self.fs.rmdir(self.path)

    def copy(self, target: Any, **kwargs: Any) -> Any:
        """Copy this file or directory to a path, which is the new path itself; return that."""
        target = self._target(target)
        if is_same_local_file(self, target):
            raise same_file(self, target)
        return super().copy(target, **kwargs)

    def _copy_from(self, source: Any, *args: Any, **kwargs: Any) -> None:
        """Copy another path to this one: the hook of universal_pathlib for its `copy` and `move`.

        Its `move` removes the source after the copy, whatever the two paths are.
        """
        if is_same_local_file(source, self) or is_alias(source, self):
            raise same_file(source, self)
        super()._copy_from(source, *args, **kwargs)

    def move(self, target: Any, **kwargs: Any) -> Any:
        """Move this file or directory to a path, which is the new path itself; return that.

        On one filesystem the service moves it, where it can. Only what was moved is removed.
        """
        target = self._target(target)
        check_removal(self.fs, self.path, recursive=True)
        if not isinstance(target, OpendalPath) or target.fs != self.fs or kwargs:
            if may_be_same_file(self, target):
                raise same_file(self, target)
            listed: dict[str, Any] = run(list_tree, self.fs, self.path, None, False)
            copied = self.copy(target, **kwargs)
            # Not what others have added meanwhile.
            run(remove_listed, self.fs, listed or {self.path: None}, self.fs.batch_size)
            return copied
        run(move, self.fs, self.path, target.path, recursive=True, literal=True)
        return target.joinpath()

    def _target(self, target: Any) -> UPath:
        """Return a target as a path."""
        if isinstance(target, str):
            is_same = target.startswith(f"{self.protocol}://")
            return self.with_segments(target) if is_same else UPath(target)
        return target if isinstance(target, UPath) else UPath(target)

    def rename(self, target: Any, **kwargs: Any) -> Any:
        """Rename this file or directory to a path or URL of the same service; return that."""
        if has_magic(self.path) and (isinstance(target, OpendalPath) or "://" in str(target)):
            return self.move(target)
        return super().rename(target, **kwargs)

    def relative_to(self, other: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Return this path relative to another one; raise ValueError if it is not below it."""
        if isinstance(other, OpendalPath) and self.storage_options != other.storage_options:
            # The error of universal_pathlib contains the options, with their secrets.
            raise ValueError(
                f"{redact(str(other))!r} has other storage options: pass both paths the same ones"
            )
        return super().relative_to(other, *args, **kwargs)

    def __str__(self) -> str:
        service = lookup(self.protocol)
        if service.form is Form.ENDPOINT and self.is_absolute():
            return urls.unstrip(service, self.path, self.storage_options.get(service.endpoint))
        return super().__str__()


def _load_class(protocol: str) -> type[ServiceFileSystem]:
    """Return the filesystem class of a protocol, from which universal_pathlib takes how paths are split.

    If a chain such as ``simplecache::opendal+s3://...`` was parsed before the class was loaded,
    universal_pathlib has cached a parser that loses a letter of each name.
    """
    fs_class: type[ServiceFileSystem] = fsspec.get_filesystem_class(protocol)
    parsers: Any = type(OpendalPath.parser)
    if not parsers.from_protocol(protocol).protocol:
        parsers.from_protocol.cache_clear()
    return fs_class


def _url_options(cls: type[ServiceFileSystem], url: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that a URL contains; raise if it names another server than the options."""
    found, name = cls._get_kwargs_from_urls(url), cls.service.endpoint
    if not urls.same_server(found.get(name), options.get(name)):
        raise ValueError(f"{redact(url)!r} is on another server than {name}=: remove one of them")
    return found
