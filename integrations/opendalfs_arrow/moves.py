"""Moves as pyarrow means them: from one literal name to another, never into what is there."""

from __future__ import annotations

import errno
import os

from opendalfs.errors import redact
from opendalfs.fs.core import OpendalFileSystem
from opendalfs.listing.info import Info
from opendalfs.read.reader import gather

__all__ = ["move"]


async def move(fs: OpendalFileSystem, source: str, target: str, local: tuple[str, str] | None = None) -> None:
    """Move a file or directory; a file that is there is replaced, and so is an empty directory by another.

    Parameters
    ----------
    fs : OpendalFileSystem
        Where both are.
    source, target : str
        Stripped paths.
    local : tuple of str, optional
        The same two on this machine, where files are.

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
        raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(target))
    await _check(fs, source, target)
    if local is None:
        await _copy_away(fs, source, target)
        return
    # All at once, and links stay what they are; OpenDAL would list none that lead to directories.
    await fs._makedirs(fs._above(target), exist_ok=True)
    os.rename(*local)
    fs.invalidate_cache(source)
    fs.invalidate_cache(target)


async def _check(fs: OpendalFileSystem, source: str, target: str) -> None:
    """Raise when a directory cannot be moved to a place."""
    if source == fs.root_marker or f"{target}/".startswith(f"{source}/"):
        raise OSError(
            errno.EINVAL, "A directory cannot be moved into itself", redact(source), None, redact(target)
        )
    if await fs._isfile(target):
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", redact(target))
    if await _holds(fs, target):
        raise OSError(errno.ENOTEMPTY, "Directory not empty", redact(target))


async def _copy_away(fs: OpendalFileSystem, source: str, target: str) -> None:
    """Move a directory by copies, as few services can by themselves."""
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
