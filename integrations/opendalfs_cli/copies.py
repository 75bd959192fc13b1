"""The commands `cp` and `mv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from opendalfs.fs.moves import may_be_same_file, move
from opendalfs.fs.registry import filesystem_class
from opendalfs.fs.removal import check_removal, remove_listed
from opendalfs.runtime.tasks import gather, run

from .arguments import storage_command, storage_options
from .failures import Failure
from .locations import Location, check_named, matches, open_location
from .transfers import IN_FLIGHT, Job, Plan, check_pairs, plan, transfer

__all__ = ["cp", "mv"]

Options = Mapping[str, str]

_VERSION: Final = ("size", "ETag", "VersionId", "LastModified")
"""Keys of an info that change when the file does."""


def _two_sides(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments of a command that has sources and a target."""
    for add in (
        storage_options("--to-option", "to_options", help="An option of the service of the target only."),
        storage_options(
            "--from-option", "from_options", help="An option of the service of the sources only."
        ),
        click.argument("target"),
        click.argument("sources", nargs=-1, required=True, metavar="SOURCE..."),
    ):
        function = add(function)
    return function


@storage_command("cp")
@_two_sides
@click.option("-r", "-R", "--recursive", is_flag=True, help="Copy directories with all that is below them.")
def cp(
    sources: tuple[str, ...],
    target: str,
    recursive: bool,
    options: Options,
    from_options: Options,
    to_options: Options,
) -> None:
    """Copy files between services, and to and from this machine.

    A target that is a directory, or ends in a slash, takes in what is copied. Existing files are replaced,
    each when its copy is complete.
    """
    pairs = _pairs(*_open(sources, target, options, from_options, to_options))
    check_pairs(pairs)
    plans = [plan(source, to, recursive=recursive, follow=True) for source, to in pairs]
    transfer(plans, "copying")


@storage_command("mv")
@_two_sides
def mv(
    sources: tuple[str, ...], target: str, options: Options, from_options: Options, to_options: Options
) -> None:
    """Move files and directories, also between services.

    A target that is a directory, or ends in a slash, takes in what is moved. A source is removed only after
    all files were copied, their sizes were compared, and no source has changed meanwhile.
    """
    for text in sources:
        check_named(text)
    pairs = _pairs(*_open(sources, target, options, from_options, to_options))
    check_pairs(pairs)
    for source, _ in pairs:
        check_removal(source.fs, source.path, recursive=True)
    for source, to in pairs:
        if source.fs == to.fs:
            run(move, source.fs, source.path, to.path, recursive=True, literal=True)
        else:
            _move_across(plan(source, to, recursive=True, follow=False))


def _move_across(one: Plan) -> None:
    """Copy a source to another service, check the copies, and remove what was copied."""
    before = _infos(one.source, [job.source for job in one.jobs])
    replaced = _infos(one.target, [job.target for job in one.jobs], missing_ok=True)
    for job in one.jobs:
        _check_other(one, job, before[job.source], replaced[job.target])
    transfer([one], "moving")
    copied = _infos(one.target, [job.target for job in one.jobs])
    after = _infos(one.source, [job.source for job in one.jobs])
    for job in one.jobs:
        _check_copy(one, job, before[job.source], copied[job.target], after[job.source])
    run(remove_listed, one.source.fs, one.listed, IN_FLIGHT)


def _infos(location: Location, paths: list[str], *, missing_ok: bool = False) -> dict[str, dict[str, Any]]:
    """Return what storage says of files now; an empty dict for a missing one, if `missing_ok`."""

    async def info(path: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = await location.fs._info(path, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            if not missing_ok:
                raise
            return {}
        return found

    return dict(zip(paths, run(gather, info, paths, IN_FLIGHT), strict=True))


def _check_other(one: Plan, job: Job, source: dict[str, Any], target: dict[str, Any]) -> None:
    """Raise for a target that may be its source: one server may have several names and services.

    The removal of the source would remove the only copy.
    """
    if not may_be_same_file(source, target, {one.source.fs.service.scheme, one.target.fs.service.scheme}):
        return
    url = one.source.url(job.source)
    raise Failure(
        f"{url} may be the same file as the target, as far as size and time show: nothing was moved. "
        "Copy it with cp"
    )


def _check_copy(
    one: Plan, job: Job, before: dict[str, Any], copied: dict[str, Any], after: dict[str, Any]
) -> None:
    """Raise, before anything is removed, unless a copy is whole and its source is unchanged."""
    if copied["size"] != before["size"]:
        url = one.target.url(job.target)
        raise Failure(f"{url} has {copied['size']} bytes, not {before['size']}: nothing was removed")
    if [before.get(key) for key in _VERSION] != [after.get(key) for key in _VERSION]:
        raise Failure(f"{one.source.url(job.source)} has changed while it was copied: nothing was removed")


def _open(
    sources: tuple[str, ...], target: str, options: Options, from_options: Options, to_options: Options
) -> tuple[list[Location], Location]:
    """Return the locations; raise UsageError if ``-o`` would send credentials to a second server."""
    urls = [text for text in (*sources, target) if "://" in text]
    if options and any(_server(url) != _server(urls[0]) for url in urls):
        raise click.UsageError(
            "-o would go to two services: pass --from-option for the sources and --to-option for the target"
        )

    def given(text: str, side: Options) -> dict[str, str]:
        return {**options, **side} if "://" in text else dict(side)

    found = [one for text in sources for one in matches(open_location(text, given(text, from_options)))]
    return found, open_location(target, given(target, to_options))


def _server(url: str) -> tuple[str, dict[str, str]]:
    cls = filesystem_class(url.partition("://")[0])
    return cls.scheme, cls._get_kwargs_from_urls(url)


def _pairs(sources: list[Location], target: Location) -> list[tuple[Location, Location]]:
    """Return each source with the path that it gets."""
    into = target.is_folder or target.fs.isdir(target.path, refresh=True)
    if len(sources) > 1 and not into:
        raise Failure(f"{target.url()} is not a directory: write a slash at its end to make it one")
    if not into:
        return [(source, target) for source in sources]
    found = []
    for source in sources:
        if not source.name or source.path == source.fs.root_marker:
            raise Failure(f"{source.url()} has no name that the copy could get: name the target")
        above = target.path.rstrip("/")
        at_root = not target.path
        found.append((source, target.at(source.name if at_root else f"{above}/{source.name}")))
    return found
