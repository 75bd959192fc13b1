"""Inspection of the call stack: which code closes a file that is open for writing.

Python tells a file that its ``with`` block failed only through ``__exit__``. Most wrappers do not pass that
on: text and compression wrappers, fsspec's OpenFile, and the handles of pandas and pyarrow call ``close()``
whether the block failed or not. Closing would then publish half a file.

This is the only module of the core that inspects frames. It looks at the exception that is being handled, and
at a limited number of calling frames, always of its own thread. It reads no private attributes.
"""

from __future__ import annotations

import dis
import sys
from types import CodeType, FrameType
from typing import Any, Final

from fsspec.core import open_files

__all__ = ["in_archive_close", "in_chained_open", "in_finalizer", "with_block_failed"]

_AWAIT: Final = frozenset({"GET_AWAITABLE", "LOAD_CONST", "SEND"})
"""Instructions by which ``async with`` waits for ``__aexit__`` after it has called it."""

_CLOSE_FRAMES: Final = 7
"""Frames searched for the ``__del__`` that closes a file: two of ours, a few of wrappers, and itself."""

_FLUSH_FRAMES: Final = 4
"""Frames searched for `ZipFileSystem.close`: one of ours, two of zipfile, and itself."""

_OPEN_FRAMES: Final = 16
"""Frames searched for the code that opens a file: those of two filesystems, and itself."""


def with_block_failed(exc: BaseException) -> bool:
    """Whether a ``with`` statement is leaving its block because of an exception.

    The first frame of a traceback is the one that handles the exception. If that frame runs the instruction
    by which ``with`` calls ``__exit__`` for an exception, the block has failed, and the exception propagates
    unless that ``__exit__`` suppresses it. In an ``except`` or ``finally`` block the frame runs another
    instruction.

    Parameters
    ----------
    exc : BaseException
        The exception that is being handled in this thread.

    Returns
    -------
    bool
        False also if the traceback was removed, or was made by code that is not Python.
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
    """Whether the caller is a ``__del__``, such as that of pyarrow's ParquetWriter, or the interpreter exits.

    Parameters
    ----------
    opens : bool
        Whether a file is being opened, which takes more frames than a close.

    Returns
    -------
    bool
    """
    frames = _calling_code(_OPEN_FRAMES if opens else _CLOSE_FRAMES)
    return sys.is_finalizing() or any(code.co_name == "__del__" for code in frames)


def in_archive_close() -> bool:
    """Whether fsspec's ZipFileSystem is closing its archive, which flushes the target at the end.

    It closes the target only in its own finalizer.
    """
    archive = _zip_filesystem()
    return archive is not None and archive.close.__code__ in _calling_code(_FLUSH_FRAMES)


def in_chained_open() -> bool:
    """Whether ``fsspec.open("zip://...::...")`` opens the target of an archive.

    fsspec then closes the archive only in a finalizer.
    """
    archive = _zip_filesystem()
    if archive is None:
        return False
    frames = _calling_code(_OPEN_FRAMES)
    constructor = archive.__init__.__code__
    return constructor in frames and open_files.__code__ in frames[frames.index(constructor) :]


def _zip_filesystem() -> Any:
    """Return fsspec's class of ZIP archives, if it is imported."""
    return getattr(sys.modules.get("fsspec.implementations.zip"), "ZipFileSystem", None)


def _calling_code(count: int) -> list[CodeType]:
    """Return the code of up to `count` frames that called a function of this module, innermost first."""
    found: list[CodeType] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and len(found) < count:
        found.append(frame.f_code)
        frame = frame.f_back
    return found
