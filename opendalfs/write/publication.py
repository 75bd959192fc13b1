"""The rules of what the close of a file publishes, for files of threads and of coroutines.

A write is published by an explicit, successful close or commit, and by nothing else:

==========================================  ==================================================================
the file is closed                          what happens
==========================================  ==================================================================
while no exception is being handled         it is published
while one is that began before the open     it is published
by ``with``, whose block failed             nothing is published; the block's exception propagates
directly, in ``except`` or ``finally``      nothing is published; the close raises, as the exception may have
                                            cut the file short
after a write has failed                    nothing is published; the close raises
by the finalizer of another object          nothing is published; the log has a warning
never                                       nothing is published; ResourceWarning
==========================================  ==================================================================

A generator that is closed at a ``yield`` in a ``with`` block may or may not have reached its end, and its
GeneratorExit does not reach any caller. So the close raises there as well.

A C++ destructor is not visible from Python. So a pyarrow stream with a buffer or compression, which pyarrow
closes when it is garbage collected, is published as if the program had closed it.
"""

from __future__ import annotations

import errno
import sys

from .call_stack import with_block_failed

__all__ = ["OpenContext", "not_published", "raise_unless_propagating"]


class OpenContext:
    """The exception that was being handled when a file was opened, if any."""

    def __init__(self) -> None:
        self._handled = sys.exc_info()[1]
        # In an ``__exit__``, the exception of the block propagates by itself.
        self._in_exit = self._handled is not None and with_block_failed(self._handled)

    def failure(self) -> BaseException | None:
        """Return the exception that is being handled now; None if it began before the file was opened.

        An exception that began before and is raised again in the block that writes is a failure of that
        block.
        """
        current = sys.exc_info()[1]
        if (
            current is not None
            and current is self._handled
            and not self._in_exit
            and with_block_failed(current)
        ):
            return current
        earlier, seen = self._handled, set[int]()
        while earlier is not None and id(earlier) not in seen:
            if earlier is current:
                return None
            seen.add(id(earlier))
            earlier = earlier.__context__
        return current

    def clear(self) -> None:
        """Release the exception, and the frames that its traceback references."""
        self._handled = None


def raise_unless_propagating(failure: BaseException, name: str) -> None:
    """Return if an exception propagates to the caller by itself, because a ``with`` block failed; else raise.

    Parameters
    ----------
    failure : BaseException
        The exception that is being handled while the file is closed.
    name : str
        Path of the file.

    Raises
    ------
    OSError
        If the file was closed directly in an ``except`` or ``finally`` block.
    BaseException
        The failure itself, with a note, if it must not be replaced: KeyboardInterrupt, CancelledError,
        SystemExit.
    """
    if isinstance(failure, GeneratorExit):
        raise not_published("its generator was closed in the block that writes", name) from failure
    if with_block_failed(failure):
        return
    reason = f"closed while {type(failure).__name__} was being handled"
    if not isinstance(failure, Exception):
        failure.add_note(str(not_published(reason, name)))
        raise failure
    raise not_published(reason, name) from failure


def not_published(
    reason: str, name: str, remedy: str = "Call commit() to publish, discard() to drop"
) -> OSError:
    """Return the error of a close that publishes nothing.

    Parameters
    ----------
    reason : str
        Why not.
    name : str
        Path of the file.
    remedy : str
        What to do.

    Returns
    -------
    OSError
    """
    return OSError(errno.EIO, f"Not published: {reason}. {remedy}", name)
