"""Readers that an engine's adapter supplies for files of ``open()``, found by an entry point of this wheel.

The core imports no adapter. The adapter names a function in ``pyproject.toml``::

    [project.entry-points."opendalfs.file_readers"]
    pyarrow = "opendalfs_arrow.files:open_planned"
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib.metadata import distributions
from typing import Any, Final, Protocol

__all__ = ["FileReader", "load"]

GROUP: Final = "opendalfs.file_readers"

_log = logging.getLogger(__name__)


class FileReader(Protocol):
    """A reader with a position of its own."""

    def seek(self, offset: int) -> int:
        """Set the position in bytes."""

    def tell(self) -> int:
        """Return the position in bytes."""

    def read_buffer(self, size: int | None) -> Any:
        """Read from the position on, into any object with the buffer protocol."""

    def close(self) -> None:
        """Stop the requests in flight."""


@cache
def load(engine: str) -> Callable[..., FileReader] | None:
    """Return the function of an adapter that opens a reader; None if there is none that can be imported.

    Parameters
    ----------
    engine : str
        Name of the entry point, which is the module that the adapter needs.

    Returns
    -------
    callable or None
        It is called with the filesystem, the stripped path and the `Reader` of the file.
    """
    # Only this wheel's entry points: reading those of all installed packages takes tens of milliseconds.
    for distribution in distributions(name="opendalfs"):
        for point in distribution.entry_points.select(group=GROUP, name=engine):
            try:
                open_reader: Callable[..., FileReader] = point.load()
            except Exception as exc:
                if isinstance(exc, ModuleNotFoundError) and exc.name == engine:
                    return None
                # Whatever keeps the adapter from being imported, the file itself can be read.
                _log.warning("reading without %s: it cannot be imported", point.value, exc_info=True)
            else:
                return open_reader
    return None
