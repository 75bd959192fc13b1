"""Which files a copy or a move transfers where, and the transfers, between any two services."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from opendalfs import listing
from opendalfs.errors import redact
from opendalfs.fs.copies import copy_file
from opendalfs.fs.directories import directory_exists
from opendalfs.fs.expansion import list_tree
from opendalfs.fs.progress import BytesCallback
from opendalfs.runtime.tasks import gather, run

from .failures import Failure
from .locations import Location
from .progress import Advance, bytes_bar

__all__ = ["IN_FLIGHT", "Job", "Plan", "check_pairs", "parents", "plan", "transfer"]

IN_FLIGHT: Final = 32
"""Files that are transferred at a time."""

Info = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """A file to transfer."""

    source: str
    target: str
    info: Info

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return int(self.info["size"])


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of a source to transfer, and the directories without files to create.

    `listed` has the infos of all that the source contains, by path.
    """

    source: Location
    target: Location
    jobs: list[Job]
    folders: list[str]
    listed: dict[str, Info]


def plan(source: Location, target: Location, *, recursive: bool, follow: bool) -> Plan:
    """Return what to transfer from one location to another, which is the new path itself.

    Parameters
    ----------
    source, target : Location
        A file, or a directory with all that is below it.
    recursive : bool
        Whether a directory is taken.
    follow : bool
        Whether links to directories are followed; otherwise they are an error.

    Raises
    ------
    Failure
        For a directory, unless `recursive`.
    FileNotFoundError
        If nothing exists at the source.
    IsADirectoryError
        If a key is both a file and a directory, which the target cannot store.
    """
    info = source.info(refresh=True)
    both = recursive and _is_both(source, info)
    if info["type"] == "file" and not both:
        return Plan(source, target, [Job(source.path, target.path, info)], [], {source.path: info})
    if not recursive:
        raise Failure(f"{source.url()} is a directory: pass -r to take it with all that is below it")
    listed: dict[str, Info] = run(list_tree, source.fs, source.path, None, follow)
    listed = {**listed, source.path: info} if both else {source.path: info, **listed}
    if links := [name for name, found in listed.items() if found.get("islink") and not follow]:
        raise Failure(f"{links[0]} is a link to a directory: copy what it leads to, then remove the link")
    files = {name: found for name, found in listed.items() if found["type"] == "file"}
    if source.is_local:
        _check_regular(files)
    if _has_directories(target):
        files = _without_markers(files)
    jobs = [Job(name, _target_path(source, target, name), found) for name, found in files.items()]
    above = {parent for name in files for parent in parents(name)}
    empty = [name for name, found in listed.items() if found["type"] == "directory" and name not in above]
    folders = [_target_path(source, target, name) for name in empty] if _has_directories(target) else []
    return Plan(source, target, jobs, folders, listed)


def check_pairs(pairs: Sequence[tuple[Location, Location]]) -> None:
    """Raise if a target is its source, or within it, or the target of another source."""
    taken: set[str] = set()
    for source, target in pairs:
        same = source.fs.locate(source.path) == target.fs.locate(target.path)
        if (
            source.is_local
            and target.is_local
            and os.path.exists(target.path)
            and os.path.exists(source.path)
        ):
            same = same or os.path.samefile(source.path, target.path)
        if same:
            raise Failure(f"{source.url()} and the target are the same file")
        if source.fs == target.fs and f"{target.path}/".startswith(f"{source.path}/"):
            raise Failure(f"{source.url()} cannot be put into itself")
        if target.path in taken:
            raise Failure(f"two files would become {target.url()}: give one of them another name")
        taken.add(target.path)


def transfer(plans: Sequence[Plan], label: str) -> None:
    """Transfer all files; the first error stops the others, and each target keeps its previous content."""
    work = [(one, job) for one in plans for job in one.jobs]
    with bytes_bar(label, sum(job.size for _, job in work)) as advance:
        run(gather, partial(_transfer_one, advance), work, IN_FLIGHT)
    for one in plans:
        for folder in one.folders:
            run(one.target.fs._makedirs, folder, exist_ok=True)


async def _transfer_one(advance: Advance, item: tuple[Plan, Job]) -> None:
    one, job = item
    source, target = one.source, one.target
    if source.is_local and not target.is_local:
        await target.fs._put_file(job.source, job.target, callback=BytesCallback(advance))
    elif target.is_local and not source.is_local:
        await asyncio.to_thread(os.makedirs, os.path.dirname(job.target), exist_ok=True)
        await source.fs._get_file(
            job.source,
            job.target,
            callback=BytesCallback(advance),
            info=job.info,
        )
    else:
        if not await copy_file(source.fs, job.source, job.target, target.fs):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", redact(job.source))
        advance(job.size)


def _has_directories(target: Location) -> bool:
    """Whether a directory of the target exists without files in it."""
    return target.is_local or listing.keeps_directories(target.fs.locate(target.path)[0])


def _is_both(source: Location, info: Info) -> bool:
    """Whether a file is also a directory with files, as it may be where keys are flat."""
    connection, key = source.fs.locate(source.path)
    if info["type"] != "file" or listing.keeps_directories(connection):
        return False
    return run(directory_exists, connection, key)


def _check_regular(files: dict[str, Info]) -> None:
    """Raise for a pipe, a socket or a device, whose read may never end. All of them have the size 0."""
    for name, info in files.items():
        if not info["size"] and os.path.lexists(name) and not os.path.isfile(name):
            raise Failure(f"{name} is a pipe, a socket or a device: move it out of the directory")


def _without_markers(files: dict[str, Info]) -> dict[str, Info]:
    """Return the files without empty ones that mark a directory; raise for others that are one too."""
    folders = {parent for name in files for parent in parents(name)}
    for name in folders & files.keys():
        if files[name]["size"]:
            text = "Is both an object and a directory, which the target cannot store: copy them one by one"
            raise IsADirectoryError(errno.EISDIR, text, redact(name))
    return {name: info for name, info in files.items() if name not in folders}


def parents(name: str) -> list[str]:
    """Return the paths of all directories above a path."""
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def _target_path(source: Location, target: Location, name: str) -> str:
    """Return the path that a file below the source gets; raise for a name that leads out of the target."""
    below = name.removeprefix(source.path).strip("/")
    if any(part in (".", "..") for part in below.split("/")) or (os.sep != "/" and os.sep in below):
        raise Failure(f"{source.url(name)} would be written outside of the target: copy it by itself")
    return f"{target.path.rstrip('/')}/{below}" if below else target.path
