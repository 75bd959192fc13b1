"""The filesystem object that pyarrow's functions take."""

from __future__ import annotations

from typing import Any

import pyarrow.fs as pafs

__all__ = ["ArrowFileSystem"]


class ArrowFileSystem(pafs.PyFileSystem):
    """A `pyarrow.fs.PyFileSystem` whose repr shows the service and its options, without secrets.

    Parameters
    ----------
    handler : Handler
        Serves its calls.

    Examples
    --------
    >>> import opendalfs
    >>> opendalfs.arrow("memory", root="/lake")
    opendalfs.arrow(MemoryFileSystem(root='/lake'))
    """

    def __repr__(self) -> str:
        """Return the call that makes an equal filesystem, with *** for secrets."""
        return repr(self.handler)

    def __reduce__(self) -> Any:
        return type(self), (self.handler,)
