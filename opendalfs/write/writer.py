"""Writes that publish on commit and only then.

Three ways, chosen by what the service can do:

- *parts*: object stores. What fits into one part is one PUT; more goes up as a multipart upload, several
  parts at a time, and shows only when it is completed.
- *staged*: local disks, where a file under way would show. It is written beside its target under a hidden
  name and renamed.
- *whole*: all others take an object only in one piece, so it is held in memory until the commit.
"""

from __future__ import annotations

import enum
import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opendalfs.read.ranges import Range, split
from opendalfs.read.reader import Reader, Version
from opendalfs.runtime.tasks import run
from opendalfs.storage.connection import Connection
from opendalfs.storage.local_disk import followed, stages_writes
from opendalfs.storage.upload import Upload

from .options import PARALLEL, part_size, write_options
from .staging import Stage
from .verification import verify

__all__ = ["State", "Writer", "appending"]


class State(enum.Enum):
    """What has become of a write."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Writer:
    """A write of one object from threads; end it by `commit` or `abort`.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    key : str
        Its key.
    exclusive : bool
        Fail with FileExistsError when the object exists, now or at the commit.
    append_to : int, optional
        Add to the object, which holds so many bytes, with the service's own append.
    **options
        As `write_options` takes them.

    Attributes
    ----------
    state : State
        Open until `commit` or `abort`; aborted also after a write or a commit that failed.
    size : int
        Bytes written, and with `append_to` those that were there before.

    Raises
    ------
    FileExistsError
        With `exclusive`, at once when the object is there already.

    Notes
    -----
    Calls from several threads run one after another, so that an abort waits for a commit that has begun.
    """

    def __init__(
        self,
        connection: Connection,
        key: str,
        *,
        exclusive: bool = False,
        append_to: int | None = None,
        **options: Any,
    ) -> None:
        connection.require("write", "write")
        if not exclusive and stages_writes(connection):
            connection, key = followed(connection, key)
        self._connection = connection
        self._key = key
        self._options = write_options(connection, options)
        self._chunk = self._options.pop("chunk", None)
        self._parallel = self._options.pop("concurrent", PARALLEL)
        self._exclusive = exclusive
        self._lock = threading.RLock()
        self._buffer = bytearray()
        self._upload: Upload | None = None
        self._parts = 0
        self._part = part_size(connection, chunk=self._chunk)
        self._stage: Stage | None = None
        appends = append_to is not None
        if appends:
            self._options["append"] = True
        self._appends = appends
        self._staged = stages_writes(connection) and not appends
        self._multi = connection.can("write_can_multi") and not appends
        self.state = State.OPEN
        self.size = append_to or 0
        if exclusive:
            self._check_free()

    @property
    def name(self) -> str:
        """Path of the object, as errors name it."""
        return self._connection.name(self._key)

    @property
    def buffered(self) -> int:
        """Bytes that were taken and not handed to storage yet."""
        return len(self._buffer)

    def _check_free(self) -> None:
        """Fail early; what is made meanwhile is found at the commit."""
        connection = self._connection
        try:
            connection.stat_blocking(self._key)
        except FileNotFoundError:
            pass
        else:
            raise FileExistsError(errno.EEXIST, "File exists", self.name)
        if not self._staged and connection.can("write_with_if_not_exists"):
            self._options["if_not_exists"] = True

    def _require_open(self, verb: str) -> None:
        if self.state is not State.OPEN:
            raise ValueError(f"cannot {verb}: the write of {self.name!r} is {self.state.value} already")

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write bytes; full parts go up at once.

        Parameters
        ----------
        data : bytes-like
            Any number of bytes.

        Returns
        -------
        int
            How many were taken: all.

        Raises
        ------
        ValueError
            After a commit or an abort.
        OSError
            When a part could not be written: the write is aborted then.
        """
        view = memoryview(data).cast("B")
        with self._lock:
            self._require_open("write")
            try:
                self._take(view)
            except BaseException:
                # Nobody knows which bytes of the object would be missing.
                self.abort()
                raise
        return view.nbytes

    def _take(self, view: memoryview) -> None:
        self.size += view.nbytes
        part = self._part
        if not self._multi or len(self._buffer) + view.nbytes < part:
            self._buffer += view
            return
        taken = 0
        if self._buffer:
            taken = part - len(self._buffer)
            self._buffer += view[:taken]
            self._send(bytes(self._buffer))
            self._buffer = bytearray()
        while view.nbytes - taken >= part:
            self._send(bytes(view[taken : taken + part]))
            taken += part
        self._buffer += view[taken:]

    @contextmanager
    def _target(self) -> Iterator[str]:
        """Return the key that OpenDAL writes to; its errors name the object."""
        if not self._staged:
            yield self._key
            return
        if self._stage is None:
            self._stage = Stage(self._connection, self._key)
        with self._stage.naming():
            yield self._stage.key

    def _send(self, part: bytes) -> None:
        with self._target() as target:
            if self._upload is None:
                self._upload = self._connection.upload(target, concurrent=self._parallel, **self._options)
            self._upload.write(part)
        self._parts += 1
        self._part = part_size(self._connection, number=self._parts, chunk=self._chunk)

    def commit(self) -> None:
        """Publish what was written.

        Raises
        ------
        ValueError
            After a commit or an abort.
        FileExistsError
            With ``exclusive``, when another writer was faster.
        OSError
            When it could not be published: the write is aborted then.
        """
        with self._lock:
            self._require_open("commit")
            try:
                self._publish()
            except BaseException:
                self.abort()
                raise
            self.state = State.COMMITTED
            self._upload = None

    def _publish(self) -> None:
        connection, rest = self._connection, bytes(self._buffer)
        self._buffer = bytearray()
        with self._target() as target:
            if self._upload is None:
                connection.write_blocking(target, rest, **self._options)
            else:
                if rest:
                    self._send(rest)
                self._upload.complete()
        if self._stage is not None:
            self._stage.check()
            connection.publish_blocking(self._stage.key, self._key, self._exclusive)
            self._stage.published()
        if connection.tuning.verify_writes:
            whole = rest if self._upload is None and not self._appends else None
            run(verify, connection, self._key, self.size, whole, grows=self._appends)

    def abort(self) -> bool:
        """Publish nothing and drop what was written; a second call does nothing.

        Returns
        -------
        bool
            False when it was committed before: the object is published and stays.
        """
        with self._lock:
            if self.state is State.COMMITTED:
                return False
            self.state = State.ABORTED
            self._buffer = bytearray()
            self._upload = None
            if self._stage is not None:
                self._stage.remove()
            return True


def appending(connection: Connection, key: str, **options: Any) -> Writer:
    """Give a writer that keeps what the object holds.

    Where the service appends, the new bytes are added at the commit. Elsewhere the object is written anew,
    its old bytes first, and replaced only if nobody changed it meanwhile, where the service can tell.

    Parameters
    ----------
    connection : Connection
        Where it goes.
    key : str
        Its key; a missing object is created.
    **options
        As `write_options` takes them.

    Returns
    -------
    Writer
    """
    try:
        version = Version.of(connection, key, connection.stat_blocking(key))
    except FileNotFoundError:
        return Writer(connection, key, **options)
    if connection.service.appends:
        return Writer(connection, key, append_to=version.size, **options)
    if version.etag and connection.can("write_with_if_match"):
        options.setdefault("if_match", version.etag)
    target = Writer(connection, key, **options)
    source = Reader(connection, key, version)
    for part in split(Range(0, version.size), connection.tuning.read_chunk):
        target.write(source.fetch(part))
    return target
