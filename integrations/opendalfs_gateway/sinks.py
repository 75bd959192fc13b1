"""The sinks that write through the gateway.

A completed upload is not enough to publish a file: after a query has failed, Polars sometimes still completes
files that hold only a part of the data. So the files of a sink can be held (`HeldFiles`): they are published
when the sink has succeeded, and what arrives after its end is refused.
"""

from __future__ import annotations

import secrets

from opendalfs.storage.connection import Connection
from opendalfs.write.writer import Writer

from .conditions import WriteCondition
from .directory import Directory
from .held_files import HeldFiles
from .mount import Mount
from .s3 import S3Error
from .writer_threads import WriterThreads

__all__ = ["Sinks"]


class Sinks:
    """The sinks that may write, by mount and by the name of their scan.

    Parameters
    ----------
    threads : WriterThreads
        The threads that publish files.
    """

    def __init__(self, threads: WriterThreads) -> None:
        self._threads = threads
        self._sinks: dict[tuple[Directory, str], HeldFiles | None] = {}

    def __len__(self) -> int:
        return len(self._sinks)

    def __contains__(self, sink: tuple[Mount, str]) -> bool:
        return sink in self._sinks

    def open(self, mount: Mount, scan: str, *, hold: bool) -> None:
        """Allow writes under the name of a scan, until `close`.

        Parameters
        ----------
        mount : Mount
            The mount.
        scan : str
            The name of the scan.
        hold : bool
            Whether to hold complete files until the sink has succeeded.
        """
        self._sinks[mount, scan] = HeldFiles(mount, self._threads) if hold else None

    def close(self, mount: Mount, scan: str) -> HeldFiles | None:
        """Refuse further writes of a sink, and return the files that it holds, if any."""
        return self._sinks.pop((mount, scan), None)

    def check(self, directory: Directory, key: str) -> None:
        """Raise if no sink may write this key.

        Raises
        ------
        S3Error
            403 if the sink has ended.
        """
        self._held(directory, key)

    def open_writer(self, connection: Connection, key: str, condition: WriteCondition) -> Writer:
        """Return the writer of a file.

        Raises
        ------
        S3Error
            501 for a condition on an etag.
        FileExistsError
            If the file must be new, and exists.
        """
        if condition.etag:
            raise S3Error(501, "NotImplemented", "sinks take no If-Match")
        return Writer(connection, key, exclusive=condition.new)

    def _held(self, directory: Directory, key: str) -> HeldFiles | None:
        try:
            return self._sinks[directory, key.partition("/")[0]]
        except KeyError:
            raise S3Error(403, "AccessDenied", "the sink has ended: start a new one") from None

    async def add(
        self, directory: Directory, key: str, writer: Writer, condition: WriteCondition, digest: str = ""
    ) -> str:
        """Publish a complete file, or hold it with the other files of its sink.

        Returns
        -------
        str
            A random etag, as some clients require one. That of a held file is not known yet.

        Raises
        ------
        S3Error
            403 if the sink has ended. The file is dropped.
        OSError
            If it cannot be published.
        """
        try:
            held = self._held(directory, key)
        except S3Error:
            await self._threads.abort(writer)
            raise
        if held is not None:
            await held.add(key, writer)
        else:
            await self._threads.commit(directory, key, writer)
        return f'"{secrets.token_hex(16)}"'
