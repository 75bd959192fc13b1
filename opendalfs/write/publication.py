"""The rule of what a close publishes, for files of threads and of coroutines.

A write is published by an explicit, successful close or commit, and by nothing else:

==========================================  ================================================================
the file is closed                          what happens
==========================================  ================================================================
while no exception is being handled         published
while one is that began before the open     published
by ``with``, whose block failed             nothing is published; the block's exception passes on
directly, in ``except`` or ``finally``      nothing is published; the close raises, as the exception may have
                                            cut the file short
after a write has failed                    nothing is published; the close raises
by the finalizer of another object          nothing is published; a warning in the log
never                                       nothing is published; ResourceWarning
==========================================  ================================================================

A generator that is closed at a ``yield`` in a ``with`` block may have come to its end or not, and its
GeneratorExit reaches nobody. So the close raises there as well.

A destructor in C++ leaves no trace in Python. So a stream of Arrow with a buffer or compression, which Arrow
closes when it is lost, is published as if the program had closed it.
"""

from __future__ import annotations

import errno
import sys

from .callers import fails_block

__all__ = ["Opening", "not_published", "pass_on"]


class Opening:
    """The circumstances in which a file was opened: the exception that was being handled, if any."""

    def __init__(self) -> None:
        self._handled = sys.exc_info()[1]
        # Whether it is opened in an ``__exit__``, which the exception of the block reaches by itself.
        self._in_exit = self._handled is not None and fails_block(self._handled)

    def failure(self) -> BaseException | None:
        """Return the exception that is being handled now; None when it began before the file was opened.

        One that began before and is raised again in the block that writes is a failure of that block.
        """
        current = sys.exc_info()[1]
        if current is not None and current is self._handled and not self._in_exit and fails_block(current):
            return current
        earlier, seen = self._handled, set[int]()
        while earlier is not None and id(earlier) not in seen:
            if earlier is current:
                return None
            seen.add(id(earlier))
            earlier = earlier.__context__
        return current

    def forget(self) -> None:
        """Let the exception go, with all that its traceback holds."""
        self._handled = None


def pass_on(failure: BaseException, name: str) -> None:
    """Return when an exception reaches the caller by itself, as a ``with`` block fails with it; else raise.

    Parameters
    ----------
    failure : BaseException
        The exception that is being handled while the file is closed.
    name : str
        The file.

    Raises
    ------
    OSError
        When the file was closed directly in an ``except`` or ``finally`` block.
    BaseException
        The failure itself, with a note, when it must not be replaced: KeyboardInterrupt, CancelledError,
        SystemExit.
    """
    if isinstance(failure, GeneratorExit):
        raise not_published("its generator was closed in the block that writes", name) from failure
    if fails_block(failure):
        return
    why = f"closed while {type(failure).__name__} was being handled"
    if not isinstance(failure, Exception):
        failure.add_note(str(not_published(why, name)))
        raise failure
    raise not_published(why, name) from failure


def not_published(why: str, name: str) -> OSError:
    """Return the error of a close that publishes nothing.

    Parameters
    ----------
    why : str
        What happened.
    name : str
        The file.

    Returns
    -------
    OSError
    """
    return OSError(errno.EIO, f"Not published: {why}. Call commit() to publish, discard() to drop", name)
