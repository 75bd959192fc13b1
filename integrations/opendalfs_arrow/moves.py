"""Moves as pyarrow means them: from one literal name to another, never into what is there."""

from __future__ import annotations

import errno

from opendalfs.fs import OpendalFileSystem
from opendalfs.listing import Info
from opendalfs.reader import gather

__all__ = ["move"]


async def move(fs: OpendalFileSystem, source: str, target: str) -> None:
    """Move a file or directory; a file that is there is replaced, and so is an empty directory by another.

    Parameters
    ----------
    fs : OpendalFileSystem
        Where both are.
    source, target : str
        Stripped paths.

    Raises
    ------
    OSError
        For a file moved onto a directory, a directory moved onto a file, onto one that holds something, or
        into itself.
    """
    if fs.locate(source) == fs.locate(target):
        await fs._info(source, refresh=True)
        return
    if not await fs._isdir(target):
        if await fs._mv_one(source, target):
            return
    elif (await fs._info(source, refresh=True))["type"] == "file":
        # fsspec would move it into the directory.
        raise IsADirectoryError(errno.EISDIR, "Is a directory", target)
    await _move_tree(fs, source, target)


async def _move_tree(fs: OpendalFileSystem, source: str, target: str) -> None:
    """Move a directory, as few services can by themselves."""
    if source == fs.root_marker or f"{target}/".startswith(f"{source}/"):
        raise OSError(errno.EINVAL, "A directory cannot be moved into itself", source, None, target)
    if await fs._isfile(target):
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", target)
    if await _holds(fs, target):
        raise OSError(errno.ENOTEMPTY, "Directory not empty", target)
    found: dict[str, Info] = await fs._find(source, withdirs=True, detail=True)
    holding = {fs._above(name) for name in found}

    async def one(name: str) -> None:
        place = target + name[len(source) :]
        if found[name]["type"] == "file":
            await fs._cp_file(name, place)
        elif found[name].get("marker") or name not in holding:
            # Others are implied by the copies of their files.
            await fs._makedirs(place, exist_ok=True)

    await gather(one, list(found), fs.batch_size)
    # No more than was copied: what another writer adds meanwhile stays.
    await fs._rm_listed(dict(found), fs.batch_size)


async def _holds(fs: OpendalFileSystem, path: str) -> bool:
    """Tell whether there is anything in a directory."""
    try:
        return any(info["name"] != path for info in await fs._ls(path, refresh=True))
    except FileNotFoundError:
        return False
