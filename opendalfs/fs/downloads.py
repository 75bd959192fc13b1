"""Downloads of several paths: which of them go to which local files."""

from __future__ import annotations

import asyncio
import errno
import os
from glob import has_magic
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.implementations.local import make_path_posix, trailing_sep
from fsspec.utils import check_contained, other_paths

from opendalfs.errors import redact
from opendalfs.listing import info as listing
from opendalfs.listing.info import Info

from .changes import Layout

__all__ = ["Downloads"]


class Downloads(Layout):
    """The part of `OpendalFileSystem` that plans downloads."""

    async def _get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Download files and trees, by the rules of fsspec.

        A local disk cannot hold a file and a directory of the same name, as object stores can. An empty
        object of that kind is taken for a marker of the directory, which some tools write.

        Raises
        ------
        IsADirectoryError
            When such an object is not empty; nothing is downloaded then.
        """
        if isinstance(rpath, list) and isinstance(lpath, list):
            return await super()._get(rpath, lpath, callback=callback, **kwargs)
        plain = self._strip_protocol(rpath)
        found = await self._expand(plain, recursive, maxdepth)
        if isinstance(plain, str) and (not recursive or maxdepth is not None):
            # Directories come along with all that is in them, or not at all.
            if found == {plain: None}:
                fresh = self.unsure(plain)
                found[plain] = kwargs["info"] = await self._info(plain, fresh, kwargs.get("version_id"))
            infos = {path: info for path, info in found.items() if info is not None}
            found = {path: info for path, info in infos.items() if info["type"] == "file"}
        if not found:
            return None
        self._drop_markers(found)
        targets = _local_targets(list(found), plain, rpath, lpath)
        folders: list[tuple[str, str]] = []
        files: list[tuple[str, str]] = []
        for pair in zip(found, targets, strict=True):
            info = found[pair[0]]
            # A listed directory needs no request, which might find the object of the same name.
            (folders if info is not None and info["type"] == "directory" else files).append(pair)
        await asyncio.to_thread(_make_folders, [target for _, target in folders])
        sources, targets = [source for source, _ in files], [target for _, target in files]
        return await super()._get(sources, targets, callback=callback, **kwargs)

    def _drop_markers(self, found: dict[str, Info | None]) -> None:
        """Leave out empty files whose name is a directory too; refuse those that hold anything."""
        for folder in {self._above(path) for path in found}:
            info = found.get(folder)
            if info is None or info["type"] != "file":
                continue
            if info["size"]:
                raise IsADirectoryError(
                    errno.EISDIR,
                    "Is an object and a directory, which no disk can hold: use get_file() for the object",
                    redact(folder),
                )
            found[folder] = listing.directory(folder)


def _local_targets(sources: list[str], plain: Any, rpath: Any, lpath: Any) -> list[str]:
    """Return the local path of each source, by the rules of fsspec."""
    single = isinstance(plain, str)
    root = make_path_posix(lpath)
    if single and has_magic(plain):
        inside = len(sources) == 1
    else:
        is_folder = isinstance(root, str) and (root.endswith("/") or os.path.isdir(root))
        inside = single and is_folder and not trailing_sep(str(rpath))
    targets: list[str] = other_paths(sources, root, exists=inside, flatten=not single)
    if isinstance(root, str):
        # Names of a listing must not lead out of the folder that was asked for.
        check_contained(root, targets)
    return targets


def _make_folders(targets: list[str]) -> None:
    for target in targets:
        os.makedirs(target, exist_ok=True)
