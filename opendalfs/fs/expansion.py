"""Expansion of patterns and directories into paths, for calls that take several of them."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from glob import has_magic
from typing import Any

from fsspec.utils import stringify_path

from opendalfs import listing
from opendalfs.errors import redact
from opendalfs.listing.info import Info
from opendalfs.storage.local_disk import enter_link

from .base import BaseFileSystem

__all__ = ["as_paths", "expand", "list_tree"]


def as_paths(path: Any) -> str | list[str]:
    """Return one path or several as strings; they may be path objects, and any collection of them."""
    one = stringify_path(path)
    return one if isinstance(one, str) else [stringify_path(each) for each in path]


async def expand(
    fs: BaseFileSystem,
    path: Any,
    recursive: bool,
    maxdepth: int | None,
    follow: bool = True,
    refresh: bool = True,
) -> dict[str, Info | None]:
    """Return the infos of the paths that patterns and directories stand for, by path; None where not listed.

    `follow` lists what links to directories lead to, rather than the links. `refresh` asks storage also
    within `cache_ttl`, as what changes files must.

    Raises
    ------
    FileNotFoundError
        If no pattern matches.
    ValueError
        If `maxdepth` is below 1.
    """
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")
    infos: dict[str, Info | None] = {}
    for one in [path] if isinstance(path, str) else path:
        plain = fs._strip_protocol(one)
        depth = maxdepth
        folders = [plain]
        if has_magic(plain):
            matches = await fs._glob(one, maxdepth=maxdepth, detail=True, refresh=refresh)
            infos |= matches
            folders = [n for n, i in matches.items() if i["type"] == "directory" or i.get("is_prefix")]
            depth = None if maxdepth is None else maxdepth - 1
        elif not recursive:
            infos.setdefault(plain, None)
        if recursive and depth != 0:
            for folder in folders:
                for name, info in (await list_tree(fs, folder, depth, follow, refresh=refresh)).items():
                    infos.setdefault(name, info)
    if not infos:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", _shown(path))
    return dict(sorted(infos.items()))


async def list_tree(
    fs: BaseFileSystem,
    path: str,
    maxdepth: int | None,
    follow: bool,
    entered_links: Sequence[str] = (),
    refresh: bool = True,
) -> dict[str, Info]:
    """Return the infos of a directory and of all below it, by path; empty when nothing exists at the path.

    Parameters
    ----------
    follow : bool
        Whether to list what links to directories lead to. Otherwise a link is listed as a directory with
        ``islink``, also when `path`, which is never a pattern, is one itself.
    entered_links : sequence of str
        Directories of this machine whose links have led to `path`; a link back to one of them raises OSError.
    refresh : bool
        Whether to ask storage also within `cache_ttl`.
    """
    connection, key = fs.locate(path)
    if not follow and connection.is_link(key):
        return {path: {**listing.directory_info(path), "islink": True}}
    infos: dict[str, Info] = await fs._find(
        path, maxdepth=maxdepth, withdirs=True, detail=True, refresh=refresh
    )
    for link in [name for name, info in infos.items() if follow and info.get("islink")]:
        levels = link.removeprefix(path).strip("/").count("/") + 1
        depth = None if maxdepth is None else maxdepth - levels
        if depth != 0:
            entered = enter_link(*fs.locate(link), entered_links)
            infos |= await list_tree(fs, link, depth, follow, entered, refresh)
    return infos


def _shown(path: Any) -> str:
    """Return a path, or several joined by commas, as an error message shows them."""
    return redact(stringify_path(path)) if not isinstance(path, list) else ", ".join(map(_shown, path))
