"""Progress of transfers in bytes, for bars of any library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fsspec.callbacks import Callback

__all__ = ["BytesCallback"]


class BytesCallback(Callback):
    """A callback for `get`, `put` and `cp` that counts the bytes of all files together.

    With fsspec's own ``TqdmCallback`` these count files, and only `get_file` and `put_file` count bytes.

    Parameters
    ----------
    update : callable
        Called with the number of bytes that were transferred since the last call, such as ``bar.update`` of a
        bar of tqdm. The number is negative if a file changed during its download, which then begins again.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> fs.pipe({"progress/a": b"12345", "progress/b": b"67"})
    >>> parts = []
    >>> fs.cp("progress", "copies", recursive=True, callback=opendalfs.BytesCallback(parts.append))
    >>> sum(parts), fs.du("progress")
    (7, 7)
    """

    def __init__(self, update: Callable[[int], Any]) -> None:
        super().__init__()
        self._update = update
        self._counts_files = False

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> BytesCallback:
        """Return the callback of one file."""
        # fsspec counts the files with this callback until the next transfer.
        self._counts_files = True
        return BytesCallback(self._update)

    def set_size(self, size: int | None) -> None:
        """Ignore the size of one file, or the number of files, with which each transfer begins."""
        self._counts_files = False

    def relative_update(self, inc: int = 1) -> None:
        """Count bytes."""
        if not self._counts_files:
            self._update(inc)
