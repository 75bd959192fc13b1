"""Downloads: of one file, and of trees into a local directory."""

from __future__ import annotations

import asyncio
import errno
import os
from glob import has_magic
from typing import Any, NamedTuple

from fsspec.implementations.local import make_path_posix, trailing_sep
from fsspec.utils import isfilelike, other_paths

from opendalfs import listing
from opendalfs.errors import redact
from opendalfs.listing.info import Info
from opendalfs.read.download import download, write_into
from opendalfs.storage.local_disk import is_special_file
from opendalfs.storage.version import Version

from .base import BaseFileSystem, must_refresh, parent_directory
from .cat import read_version
from .expansion import expand

__all__ = ["Download", "download_file", "plan_download"]


class Download(NamedTuple):
    """The local path of each file to download. The directories have been created."""

    sources: list[str]
    targets: list[str]
    info: Info | None
    """Info of the only file, if a request was made for it."""


async def plan_download(
    fs: BaseFileSystem,
    source: Any,
    target: Any,
    *,
    recursive: bool,
    maxdepth: int | None,
    version_id: str | None,
) -> Download:
    """Return which files to download to which local paths, and create the local directories.

    A local disk cannot hold a file and a directory of the same name, as object stores can. An empty object
    of that kind is taken for a marker of the directory, which some tools write; one that is not empty raises
    IsADirectoryError, and nothing is downloaded.
    """
    plain = fs._strip_protocol(source)
    infos = await expand(fs, plain, recursive, maxdepth, refresh=False)
    single: Info | None = None
    if isinstance(plain, str) and (not recursive or maxdepth is not None):
        # A directory is downloaded with all that is in it, or not at all.
        if infos == {plain: None}:
            single = await fs._info(plain, must_refresh(fs, plain), version_id)
            infos[plain] = single
        infos = {path: info for path, info in infos.items() if info is not None and info["type"] == "file"}
    if not infos:
        return Download([], [], None)
    _drop_markers(fs, infos)
    sources: list[str] = []
    targets: list[str] = []
    folders: list[str] = []
    for path, local in zip(infos, _local_paths(list(infos), plain, source, target), strict=True):
        info = infos[path]
        if info is not None and info["type"] == "directory":
            # A request for it might find the object of the same name.
            folders.append(local)
        else:
            sources.append(path)
            targets.append(local)
    await asyncio.to_thread(_make_folders, folders)
    return Download(sources, targets, single)


def _drop_markers(fs: BaseFileSystem, infos: dict[str, Info | None]) -> None:
    """List empty files whose name is a directory too as directories; raise for those that are not empty."""
    for folder in {parent_directory(fs, path) for path in infos}:
        info = infos.get(folder)
        if info is None or info["type"] != "file":
            continue
        if info["size"]:
            text = "Is both an object and a directory, which no disk can store: use get_file() for the object"
            raise IsADirectoryError(errno.EISDIR, text, redact(folder))
        infos[folder] = listing.directory_info(folder)


def _local_paths(paths: list[str], plain: Any, source: Any, target: Any) -> list[str]:
    """Return the local path of each file, by the rules of fsspec."""
    single = isinstance(plain, str)
    root = make_path_posix(target)
    if single and has_magic(plain):
        inside = len(paths) == 1
    else:
        is_directory = isinstance(root, str) and (root.endswith("/") or os.path.isdir(root))
        inside = single and is_directory and not trailing_sep(str(source))
    targets: list[str] = other_paths(paths, root, exists=inside, flatten=not single)
    if isinstance(root, str):
        _require_inside(root, targets)
    return targets


def _require_inside(root: str, targets: list[str]) -> None:
    """Raise ValueError if the name of a listed object, such as one with "..", leads out of a directory."""
    folder = os.path.normcase(os.path.abspath(root))
    for target in targets:
        path = os.path.normcase(os.path.abspath(target))
        if path != folder and not path.startswith(folder.rstrip(os.sep) + os.sep):
            raise ValueError(
                f"refusing to download to {target!r}: it is outside the target directory {root!r}. "
                "Download the object by itself,\nto a path of your choice."
            )


def _make_folders(targets: list[str]) -> None:
    for target in targets:
        os.makedirs(target, exist_ok=True)


async def download_file(
    fs: BaseFileSystem, source: str, target: Any, callback: Any, version_id: str | None, info: Info | None
) -> None:
    """Download one file; `OpendalFileSystem.get_file` describes the parameters.

    `info` saves the request for it.
    """
    if info is None:
        info = await fs._info(source, refresh=must_refresh(fs, source), version_id=version_id)
    if info["type"] == "directory":
        os.makedirs(target, exist_ok=True)
        return
    connection, key = fs.locate(source)
    written = 0

    def progress(size: int) -> None:
        nonlocal written
        written += size
        callback.relative_update(size)

    async def read(version: Version | None) -> None:
        nonlocal written
        if written:
            # An attempt that failed, as the file changed meanwhile.
            callback.relative_update(-written)
            written = 0
        if version is None:
            version = Version.from_info(await fs._info(source, refresh=True))
        callback.set_size(version.size)
        if isfilelike(target):
            await write_into(connection, key, version, target, progress)
        else:
            await download(connection, key, version, os.fspath(target), progress)

    if version_id is not None or fs.cached_version(source) is None:
        await read(Version.from_info(info))
    else:
        # A file-like object or a pipe keeps what was written to it, so only an attempt that wrote nothing is
        # repeated.
        appends = isfilelike(target) or is_special_file(os.fspath(target))
        await read_version(fs, source, read, may_repeat=lambda: not (appends and written))
