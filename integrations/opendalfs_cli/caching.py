"""The commands `cache info` and `cache clear`."""

from __future__ import annotations

from dataclasses import asdict

import click

import opendalfs

from .arguments import debug_option, human_option, json_option
from .output import echo, print_json, shown, size_text

__all__ = ["cache"]


@click.group("cache")
def cache() -> None:
    """Show or clear a cache on disk, which cache_dir= names."""


@cache.command("info")
@click.argument("directory")
@human_option
@json_option
@debug_option
def info(directory: str, human: bool, as_json: bool) -> None:
    """Print how much a cache holds."""
    found = opendalfs.cache_info(directory)
    if as_json:
        print_json(asdict(found))
        return

    size = size_text(found.bytes, human) + ("" if human else " bytes")
    echo(f"{shown(found.path)}: {found.objects} objects, {found.blocks} blocks, {size}")


@cache.command("clear")
@click.argument("directory")
@debug_option
def clear(directory: str) -> None:
    """Remove what a cache holds; programs may use it meanwhile."""
    opendalfs.clear_cache(directory)
