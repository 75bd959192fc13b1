"""The options of reads: an unknown one is an error.

A misspelt ``version_id`` would read the newest version instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from opendalfs.errors import OptionError

__all__ = ["check_read_options"]

_UNUSED: Final = frozenset(
    {
        "autocommit",
        "batch_size",
        "block_size",
        "cache_options",
        "cache_type",
        "callback",
        "default_block_size",
        "default_cache",
        "default_cache_type",
        "default_fill_cache",
        "encoding",
        "errors",
        "fill_cache",
        "max_concurrency",
        "newline",
        "trim",
    }
)
"""Options of fsspec, s3fs, adlfs, Dask and kerchunk about buffers, progress and text. They change no byte
that is read, so that a method which has no use for one ignores it."""


def check_read_options(options: Iterable[str], *own: str) -> None:
    """Raise for an option that a read does not know.

    Parameters
    ----------
    options : iterable of str
        Names of the options that were passed.
    *own : str
        Names that the method itself takes.

    Raises
    ------
    OptionError
        Naming the nearest known one.
    """
    for name in options:
        if name not in own and name not in _UNUSED:
            known = sorted({*own, *_UNUSED, "version_id"})
            near = difflib.get_close_matches(name, known, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise OptionError(
                f"unknown option of a read: {name!r}{hint}\n"
                f"The options are: {', '.join(known)}. Pass options of the service to the filesystem."
            )
