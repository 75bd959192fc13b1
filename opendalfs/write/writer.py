"""Writes from threads, published on commit and only then."""

from __future__ import annotations

import threading
from typing import Any

from opendalfs.read.ranges import Range, split
from opendalfs.read.reader import Reader
from opendalfs.runtime.tasks import run
from opendalfs.storage.connection import Connection
from opendalfs.storage.upload import Upload
from opendalfs.storage.version import Version

from .base import BaseWriter, State, WritePlan
from .options import keep_metadata, write_target
from .parts import PartBuffer

__all__ = ["State", "Writer", "appending"]


class Writer(BaseWriter[Upload]):
    """A write of one object from threads; end it with `commit` or `abort`.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    key : str
        Its key.
    exclusive : bool
        Fail with FileExistsError if the object exists, now or at the commit.
    append_to : int, optional
        Append to the object, which has this size in bytes, with the service's own append.
    **options
        Options as `write_target` takes them.

    Raises
    ------
    FileExistsError
        With `exclusive`, if the object exists.
    UnsupportedError
        If the service cannot write, or cannot do what an option needs.
    OptionError
        For an unknown option or a wrong value.

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
        connection, checked = write_target(connection, options)
        plan = WritePlan(connection, key, checked, exclusive=exclusive, appends=append_to is not None)
        multipart = connection.can("write_can_multi") and not plan.appends
        buffer = PartBuffer(plan.connection, chunk=plan.chunk, multipart=multipart)
        super().__init__(plan, buffer, append_to or 0)
        self._lock = threading.RLock()
        if exclusive and _exists(plan):
            raise plan.exists_error()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write bytes; full parts are uploaded at once.

        Parameters
        ----------
        data : bytes-like
            Any number of bytes.

        Returns
        -------
        int
            Number of bytes written: all of them.

        Raises
        ------
        ValueError
            After a commit or an abort.
        OSError
            If a part cannot be written. The write is aborted.
        """
        piece = data if isinstance(data, bytes) else memoryview(data).cast("B")
        size = len(piece)
        with self._lock:
            self._require_open("write")
            try:
                self.size += size
                for part in self._buffer.add(piece):
                    self._send(part)
                    # Freed before the next part is made.
                    del part
            except BaseException:
                # It is unknown which bytes of the object would be missing.
                self.abort()
                raise
        return size

    def _send(self, part: bytes) -> None:
        plan = self._plan
        with self._target() as target:
            if self._upload is None:
                self._upload = plan.connection.upload(target, **plan.upload_options(len(part)))
            self._upload.write(part)

    def add_condition(self, *, exclusive: bool = False, if_match: str = "") -> bool:
        """Make the service check a condition together with the commit, if it can.

        Parameters
        ----------
        exclusive : bool
            That no object exists.
        if_match : str
            That the object has this etag, with its quotes.

        Returns
        -------
        bool
            Whether the commit will fail with FileExistsError if the condition is not met. If False, the
            service cannot check it, or a multipart upload has begun without the condition.

        Raises
        ------
        ValueError
            After a commit or an abort.
        """
        with self._lock:
            self._require_open("add a condition to")
            return self._plan.add_condition(exclusive, if_match, begun=self._upload is not None)

    def commit(self) -> None:
        """Publish what was written.

        Raises
        ------
        ValueError
            After a commit or an abort.
        FileExistsError
            With ``exclusive``, if another writer has published the object first.
        OSError
            If it cannot be published. The write is aborted.
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
        plan, last = self._plan, self._buffer.take()
        with self._target() as target:
            if self._upload is None:
                plan.connection.write_blocking(target, last, **plan.options)
            else:
                if last:
                    self._upload.write(last)
                self._upload.complete()
        if self._stage is not None:
            self._stage.publish_blocking(plan.exclusive)
        if plan.connection.tuning.verify_writes:
            run(self._verify, last)

    def abort(self) -> bool:
        """Publish nothing and drop what was written; a second call does nothing.

        Returns
        -------
        bool
            False if it was committed before: the object is published and stays.
        """
        with self._lock:
            return super().abort()


def _exists(plan: WritePlan) -> bool:
    try:
        plan.connection.stat_blocking(plan.key)
    except FileNotFoundError:
        return False
    return True


def appending(connection: Connection, key: str, **options: Any) -> Writer:
    """Return a writer that keeps the content of the object.

    If the service can append, the commit appends the new bytes. Otherwise the object is written anew, its old
    content first, with the metadata that `keep_metadata` returns. It is replaced only if it has not changed
    meanwhile, where the service can check that.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    key : str
        Its key. A missing object is created.
    **options
        Options as `write_target` takes them.

    Returns
    -------
    Writer
    """
    try:
        metadata = connection.stat_blocking(key)
    except FileNotFoundError:
        return Writer(connection, key, **options)
    version = Version.of(connection, key, metadata)
    if connection.service.appends:
        return Writer(connection, key, append_to=version.size, **options)
    if version.etag and connection.can("write_with_if_match"):
        options.setdefault("if_match", version.etag)
    target = Writer(connection, key, **keep_metadata(connection, metadata, options))
    source = Reader(connection, key, version)
    for part in split(Range(0, version.size), connection.tuning.read_chunk):
        target.write(source.fetch(part))
    return target
