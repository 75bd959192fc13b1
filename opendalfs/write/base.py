"""The common base of writes from threads and from coroutines: everything but the calls to storage.

The service decides how an object is published only on commit:

- *multipart*: object stores. An object of at most one part is one PUT. A larger one is a multipart upload,
  several parts in flight, and is visible only when the upload is completed.
- *staged*: local disks, where an unfinished file would be visible. Bytes go to a hidden file beside the
  target, which is renamed at the commit.
- *whole*: all other services take an object in one piece only, so it is kept in memory until the commit.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Generic, TypeVar

from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import stages_writes
from opendalfs.storage.operators import follow_link

from .options import PARTS_IN_FLIGHT, check_parts
from .parts import PartBuffer
from .staging import Stage
from .verification import verify

__all__ = ["BaseWriter", "State", "WritePlan"]

U = TypeVar("U")

_BLOCK: Final = 256 << 10
"""Bytes in which OpenDAL's file objects write, where a service has no smallest part."""


class State(enum.Enum):
    """The state of a write."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


class WritePlan:
    """The decisions of a write, made before its first byte.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    key : str
        Its key. On a local disk a link is followed, unless `exclusive`.
    options : Mapping
        Options as `write_options` returns them.
    exclusive : bool
        Fail with FileExistsError if the object exists.
    appends : bool
        Add to the object with the service's own append.
    """

    def __init__(
        self,
        connection: Connection,
        key: str,
        options: Mapping[str, Any],
        *,
        exclusive: bool = False,
        appends: bool = False,
    ) -> None:
        connection.require("write", "write")
        on_disk = stages_writes(connection)
        if on_disk and not exclusive:
            connection, key = follow_link(connection, key)
        self.connection = connection
        self.key = key
        self.exclusive = exclusive
        self.appends = appends
        self.staged = on_disk and not appends
        self.options = dict(options)
        self.chunk: int | None = self.options.pop("chunk", None)
        self.concurrent: int = self.options.pop("concurrent", PARTS_IN_FLIGHT)
        if appends:
            self.options["append"] = True
        if exclusive and not self.staged and connection.can("write_with_if_not_exists"):
            self.options["if_not_exists"] = True

    @property
    def name(self) -> str:
        """Path of the object, as errors name it."""
        return self.connection.name(self.key)

    def add_condition(self, exclusive: bool, if_match: str, *, begun: bool) -> bool:
        """Add a condition, and return whether the service checks it together with the commit.

        Parameters
        ----------
        exclusive : bool
            That no object exists.
        if_match : str
            That the object has this etag.
        begun : bool
            Whether a multipart upload has begun, whose options can no longer be changed.
        """
        if exclusive and self.staged:
            self.exclusive = True
            return True
        name, value = ("if_not_exists", True) if exclusive else ("if_match", if_match)
        if self.options.get(name) == value:
            return True
        if begun or self.staged or not self.connection.can(f"write_with_{name}"):
            return False
        self.options[name] = value
        return True

    def upload_options(self, part: int) -> dict[str, Any]:
        """Return the options of a multipart upload whose first part has `part` bytes.

        Raises
        ------
        OptionError
            If the service would lose an option of the write.
        """
        check_parts(self.connection, self.options)
        options = {"concurrent": self.concurrent, **self.options}
        if self.connection.limit is not None and self.connection.capability.write_multi_min_size is None:
            # OpenDAL would divide each part into blocks of this size, of which Azure takes 50,000.
            options["chunk"] = max(part, _BLOCK)
        return options

    def exists_error(self) -> FileExistsError:
        """Return the error of an exclusive write of an object that exists."""
        return FileExistsError(errno.EEXIST, "File exists", self.name)


class BaseWriter(Generic[U]):
    """The state of one write; subclasses make the calls.

    Parameters
    ----------
    plan : WritePlan
        What was decided about it.
    buffer : PartBuffer
        Divides its bytes into parts.
    start : int
        Bytes of the object that an append keeps.

    Attributes
    ----------
    state : State
        OPEN until `commit` or `abort`; ABORTED also after a write or a commit that failed.
    size : int
        Bytes written, and those that an append keeps.
    """

    def __init__(self, plan: WritePlan, buffer: PartBuffer, start: int = 0) -> None:
        self._plan = plan
        self._buffer = buffer
        self._stage: Stage | None = None
        self._upload: U | None = None
        self.state = State.OPEN
        self.size = start

    @property
    def name(self) -> str:
        """Path of the object, as errors name it."""
        return self._plan.name

    @property
    def buffered(self) -> int:
        """Bytes in memory that are not sent to storage yet."""
        return len(self._buffer)

    def _require_open(self, verb: str) -> None:
        if self.state is not State.OPEN:
            raise ValueError(f"cannot {verb}: the write of {self.name!r} is already {self.state.value}")

    def _target(self) -> AbstractContextManager[str]:
        """Return a context of the key that OpenDAL writes to. Errors in it name the object."""
        plan = self._plan
        if not plan.staged:
            return nullcontext(plan.key)
        if self._stage is None:
            self._stage = Stage(plan.connection, plan.key)
        return self._stage.errors_name_target()

    async def _verify(self, last: bytes) -> None:
        """Compare the stored object with the written one. `last`: the bytes of the last request."""
        plan = self._plan
        content = last if self._upload is None and not plan.appends else None
        await verify(plan.connection, plan.key, self.size, content, grows=plan.appends)

    def abort(self) -> bool:
        """Publish nothing and drop what was written; a second call does nothing.

        Returns
        -------
        bool
            False if it was committed before: the object is published and stays.
        """
        if self.state is State.COMMITTED:
            return False
        self.state = State.ABORTED
        self._buffer.take()
        self._upload = None
        if self._stage is not None:
            self._stage.remove()
        return True
