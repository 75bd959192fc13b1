"""The file objects that ``open()`` returns for writing: for bytes, compressed bytes, and text.

`opendalfs.write.publication` states what they publish and when.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from opendalfs.errors import redact
from opendalfs.write.call_stack import in_archive_close, in_finalizer
from opendalfs.write.publication import OpenContext, not_published, raise_unless_propagating
from opendalfs.write.writer import State, Writer

from .base import BaseFileSystem

__all__ = ["CompressedWriteFile", "TextWriteFile", "WriteFile"]

logger = logging.getLogger("opendalfs")


class WriteFile(io.RawIOBase):
    """A file open for writing.

    Parameters
    ----------
    fs : OpendalFileSystem
        The filesystem.
    path : str
        Its path, stripped.
    mode : {"wb", "xb", "ab"}
        Replace, create, or append.
    writer : Writer
        The writer of the object.
    autocommit : bool
        Publish at close; if False, only at `commit`, as in a transaction.
    """

    def __init__(
        self, fs: BaseFileSystem, path: str, mode: str, writer: Writer, autocommit: bool = True
    ) -> None:
        super().__init__()
        self.fs = fs
        self.path = path
        self.mode = mode
        self.autocommit = autocommit
        self._writer = writer
        self._base = writer.size
        self._open_context = OpenContext()
        # A file that a finalizer opens and closes is published.
        self._opened_in_finalizer = in_finalizer(opens=True)
        self._discarded = False
        self._ignores_writes = False

    @property
    def full_name(self) -> str:
        """URL of the file."""
        return self.fs.unstrip_protocol(self.path)

    @property
    def name(self) -> str:
        """Path of the file."""
        return self.path

    def writable(self) -> bool:
        """Whether it can be written to: always True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes; with mode "ab" the old content counts."""
        return self._writer.size

    def write(self, data: Any) -> int:
        """Write bytes; wait if the maximum number of parts is in flight.

        Raises
        ------
        ValueError
            After a close, a commit or a discard.
        OSError
            If a part could not be written. Nothing will be published.
        """
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if self._ignores_writes:
            return memoryview(data).nbytes
        return self._writer.write(data)

    @property
    def discarded(self) -> bool:
        """Whether it was discarded, so that nothing will be published."""
        return self._discarded

    @property
    def settled(self) -> bool:
        """Whether it is published or was discarded, so that a close does nothing."""
        return self._discarded or self._writer.state is State.COMMITTED

    def flush(self, force: bool = False) -> None:
        """Do nothing: full parts are uploaded at once, the rest at close.

        fsspec's ZipFileSystem flushes its target at the end of its ``close()`` and never closes it. So this
        flush closes the file.
        """
        if not self.closed and in_archive_close():
            self.close()

    def close(self) -> None:
        """Publish what was written, unless the file belongs to a transaction; a second call does nothing.

        Raises
        ------
        OSError
            If it cannot be published, if a write has failed, and in an ``except`` or ``finally`` block, as
            the exception may have cut the file short. Nothing is published.
        """
        self._close(self._open_context.failure)

    def _close(self, get_failure: Callable[[], BaseException | None]) -> None:
        if self.closed:
            return
        try:
            if self.settled:
                return
            if not self._opened_in_finalizer and in_finalizer():
                logger.warning("%s was not published: a finalizer closed it. Use a with block", self.path)
                self._drop()
                return
            failure = get_failure()
            if failure is not None:
                self._drop()
                raise_unless_propagating(failure, redact(self.path))
            elif self._writer.state is State.ABORTED:
                raise not_published("a write has failed", redact(self.path), "Write the file again")
            elif self.autocommit:
                self.commit()
        finally:
            self._open_context.clear()
            super().close()

    def commit(self) -> None:
        """Publish what was written, whatever exception is being handled.

        Raises
        ------
        ValueError
            After a commit or a discard, and after a write or a commit that failed.
        OSError
            If it cannot be published.
        """
        try:
            self._writer.commit()
        finally:
            self.fs.invalidate_cache(self.path)

    def discard(self) -> None:
        """Publish nothing; a second call does nothing.

        Raises
        ------
        ValueError
            After a commit: the file is published and stays.
        """
        if not self._writer.abort():
            raise ValueError(f"cannot discard {self.path!r}: it is published already. Remove it instead")
        self._discarded = True
        if not self.autocommit:
            # Otherwise the transaction would commit it at its end.
            with suppress(ValueError, AttributeError):
                self.fs.transaction.files.remove(self)

    def _drop(self) -> None:
        """Publish nothing, and ignore what wrappers still write, such as the trailer of a compressor."""
        self.discard()
        self._ignores_writes = True

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; publish nothing if the block failed."""
        if exc is not None and not self.settled:
            self._drop()
            if isinstance(exc, GeneratorExit):
                super().close()
                raise_unless_propagating(exc, redact(self.path))
        self._close(lambda: None)

    def _dealloc_warn(self, source: object) -> None:
        """Drop what was written. CPython's text wrapper calls this before it closes a collected file."""
        if self.autocommit:
            self._drop_unclosed()

    def __del__(self) -> None:
        """Publish nothing: a file that was never closed may be incomplete."""
        # Without autocommit a closed file may still be committed.
        if hasattr(self, "_discarded") and self.autocommit:
            self._drop_unclosed()

    def _drop_unclosed(self) -> None:
        writer = self._writer
        if writer.state is not State.OPEN:
            return
        self._drop()
        if writer.size > self._base:
            warnings.warn(
                f"{self.path} was never closed, so it was not published: use a with block",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __reduce__(self) -> Any:
        raise TypeError("a file open for writing cannot be pickled: pickle the filesystem and the path")


class CompressedWriteFile(io.BufferedIOBase):
    """A compressor over a `WriteFile`. Closing it closes both, unlike fsspec's own compressors.

    Parameters
    ----------
    compressor : file-like
        Writes compressed bytes to `target`.
    target : WriteFile
        The file of the compressed bytes.
    """

    def __init__(self, compressor: Any, target: WriteFile) -> None:
        super().__init__()
        self._compressor = compressor
        self._target = target

    def writable(self) -> bool:
        """Whether it can be written to: always True."""
        return True

    @property
    def discarded(self) -> bool:
        """Whether it was discarded, so that nothing will be published."""
        return self._target.discarded

    def write(self, data: Any) -> int:
        """Compress bytes."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if self.discarded:
            raise ValueError(f"cannot write: {self._target.path!r} was discarded")
        self._compressor.write(data)
        return memoryview(data).nbytes

    def close(self) -> None:
        """Finish the compressed stream and publish it, as `WriteFile.close` does."""
        self._close(self._target.close)

    def _close(self, close_target: Callable[[], object]) -> None:
        if self.closed:
            return
        try:
            self._finish()
        finally:
            super().close()
            close_target()

    def _finish(self) -> None:
        """Write the trailer of the compressed stream."""
        try:
            self._compressor.close()
        except BaseException:
            self._target._drop()
            raise

    def commit(self) -> None:
        """Finish the compressed stream and publish it, whatever exception is being handled."""
        self._finish()
        self._target.commit()

    def discard(self) -> None:
        """Publish nothing."""
        self._target._drop()

    def __exit__(self, *details: Any) -> None:
        """Close; publish nothing if the block failed."""
        if details[1] is None:
            self._close(lambda: self._target.__exit__(*details))
            return
        target, settled = self._target, self.closed or self._target.settled
        if not settled:
            target._drop()
        try:
            self._compressor.close()
        finally:
            super().close()
            target.close()
        if not settled and isinstance(details[1], GeneratorExit):
            raise_unless_propagating(details[1], redact(target.path))

    def _dealloc_warn(self, source: object) -> None:
        self._target._dealloc_warn(source)

    def __del__(self) -> None:
        """Publish nothing. The base class would close the file."""
        target = getattr(self, "_target", None)
        if target is not None:
            target.__del__()


class TextWriteFile(io.TextIOWrapper):
    """Text over a `WriteFile`, compressed or not. A failed ``with`` block publishes nothing.

    Parameters
    ----------
    file : WriteFile or CompressedWriteFile
        The file of the encoded bytes.
    **options
        ``encoding``, ``errors``, ``newline``, as `io.TextIOWrapper` takes them.
    """

    def __init__(self, file: WriteFile | CompressedWriteFile, **options: Any) -> None:
        super().__init__(file, **options)  # type: ignore[arg-type]
        self._file = file

    def commit(self) -> None:
        """Publish what was written, whatever exception is being handled."""
        self.flush()
        self._file.commit()

    def discard(self) -> None:
        """Publish nothing."""
        self._file.discard()

    def close(self) -> None:
        """Publish what was written, as `WriteFile.close` does."""
        if self._file.discarded:
            # The base class would write its buffer.
            self._file.close()
        else:
            super().close()

    def __exit__(self, *details: Any) -> None:
        """Close; publish nothing if the block failed."""
        if self.closed:
            return
        if details[1] is None:
            try:
                self.flush()
            except BaseException as exc:
                self._file.__exit__(type(exc), exc, exc.__traceback__)
                raise
        self._file.__exit__(*details)
