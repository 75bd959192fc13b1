"""What a file open for writing can learn about the code that closes it.

Python tells a file that its ``with`` block failed only through ``__exit__``. Most wrappers do not pass that
on: text and compression wrappers, fsspec's OpenFile, the handles of pandas and pyarrow all call ``close()``
whether the block failed or not. Closing then would publish half a file. The functions here look at the
exception that is being handled and at a few frames of the calling thread, and at nothing else: no private
attributes, no other threads.
"""

from __future__ import annotations

import dis
import sys
from types import CodeType, FrameType
from typing import Any, Final

from fsspec.core import open_files

__all__ = ["fails_block", "in_archive_close", "in_chained_open", "in_finalizer"]

_AWAIT: Final = frozenset({"GET_AWAITABLE", "LOAD_CONST", "SEND"})
"""What ``async with`` runs after it has called ``__aexit__``, to wait for it."""

_WRAPPERS: Final = 7
"""Frames in which a ``__del__`` is looked for: our own two, a few of wrappers, and itself."""

_FLUSH: Final = 4
"""Frames in which `ZipFileSystem.close` is looked for: our own, zipfile's two, and itself."""

_OPEN: Final = 16
"""Frames in which whoever opens a file is looked for: those of two filesystems, and itself."""


def fails_block(exc: BaseException) -> bool:
    """Whether a ``with`` statement is leaving its block because of an exception.

    The frame that handles an exception is the first of its traceback. When that frame runs the instruction
    by which ``with`` calls ``__exit__`` for an exception, the block has failed and the exception passes on
    unless that ``__exit__`` suppresses it. In an ``except`` or ``finally`` block the frame runs some other
    instruction.

    Parameters
    ----------
    exc : BaseException
        The exception that is being handled in this thread.

    Returns
    -------
    bool
        False also where the traceback was removed, or made by code that is not Python.
    """
    if exc.__traceback__ is None:
        return False
    frame = exc.__traceback__.tb_frame
    running = (i for i in dis.get_instructions(frame.f_code) if i.offset <= frame.f_lasti)
    names = [i.opname for i in running]
    while names and names[-1] in _AWAIT:
        names.pop()
    return names[-1:] == ["WITH_EXCEPT_START"]


def in_finalizer(opens: bool = False) -> bool:
    """Whether a ``__del__`` is calling, such as that of pyarrow's ParquetWriter, or the interpreter exits.

    Parameters
    ----------
    opens : bool
        Whether a file is being opened, which takes more frames than a close.

    Returns
    -------
    bool
    """
    frames = _callers(_OPEN if opens else _WRAPPERS)
    return sys.is_finalizing() or any(code.co_name == "__del__" for code in frames)


def in_archive_close() -> bool:
    """Whether fsspec's ZipFileSystem is closing its archive, which ends with a flush of the target.

    It never closes the target, but in its own finalizer.
    """
    archive = _zip_filesystem()
    return archive is not None and archive.close.__code__ in _callers(_FLUSH)


def in_chained_open() -> bool:
    """Whether ``fsspec.open("zip://...::...")`` opens the target of an archive.

    fsspec then closes the archive in a finalizer only.
    """
    archive = _zip_filesystem()
    if archive is None:
        return False
    callers = _callers(_OPEN)
    made_by = archive.__init__.__code__
    return made_by in callers and open_files.__code__ in callers[callers.index(made_by) :]


def _zip_filesystem() -> Any:
    """Return fsspec's class of ZIP archives, where somebody has imported it."""
    return getattr(sys.modules.get("fsspec.implementations.zip"), "ZipFileSystem", None)


def _callers(count: int) -> list[CodeType]:
    """Return the code of the frames that called a function of this module, the nearest first."""
    found: list[CodeType] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and len(found) < count:
        found.append(frame.f_code)
        frame = frame.f_back
    return found
