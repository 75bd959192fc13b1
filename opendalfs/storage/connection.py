"""A connection to storage: the one seam to OpenDAL.

Every call to OpenDAL is a method of `Connection`. Each goes through `call.Call`, which refuses forks, counts
what is in flight, bounds it by the timeouts, records for `trace` and turns OpenDAL's errors into OSErrors.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import opendal
from opendal.exceptions import NotFound
from opendal.types import Entry, Metadata, PresignedRequest

from opendalfs import urls
from opendalfs.error_translation import translate_error
from opendalfs.errors import UnsupportedError, redact
from opendalfs.options import Tuning, secret_values
from opendalfs.path_cache import PathCache
from opendalfs.runtime import workers
from opendalfs.runtime.concurrency import ConcurrencyLimit
from opendalfs.runtime.tasks import run
from opendalfs.services import Form, Service

from .call import Call
from .paging import PAGE, Paging
from .upload import AsyncUpload, Upload

__all__ = ["PAGE", "Connection"]

_PIECE: Final = 1 << 20
_STARTED: Final = datetime.now(UTC)

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What disks without hard links answer, as FAT and some network shares."""


class Connection:
    """An OpenDAL operator, in both transports, for one service, container and set of options.

    Methods whose name ends in ``_blocking`` work in the caller's thread; the others are coroutines.
    Keys are relative to the operator's root; a key that ends in ``/`` names a directory.

    Parameters
    ----------
    service : Service
        The service.
    native : Mapping
        Its options as `options.check` returns them, the container's included.
    tuning : Tuning
        Retries, timeouts, limits.
    container : str
        Name of the container, for messages and traces.
    build : callable
        Makes OpenDAL's operator, with its layers.
    limit : ConcurrencyLimit, optional
        Limits requests in flight; None for local disks and stores in this process, which are called in the
        caller's thread and without a timeout.
    written : PathCache, optional
        Where to keep the times of writes by key, for a store that keeps none itself.
    """

    def __init__(
        self,
        service: Service,
        native: Mapping[str, str],
        tuning: Tuning,
        container: str,
        build: Callable[[], opendal.AsyncOperator],
        limit: ConcurrencyLimit | None = None,
        written: PathCache[datetime] | None = None,
    ) -> None:
        self.service = service
        self.native = dict(native)
        self.tuning = tuning
        self.container = container
        self.limit = limit
        # Pools of connections are for protocols of their own, whose servers know no other way.
        self._sends_ranges = limit is None or not service.cancels
        self._build = build
        self.async_operator = build()
        self.capability = self.async_operator.capability()
        self._written = written
        self.etags_are_md5 = True
        """Until `verification` finds that they are not."""

    @cached_property
    def operator(self) -> opendal.Operator:
        """The blocking operator; made within the first call, as it starts the threads that a fork loses."""
        return self.async_operator.to_operator()

    def renew(self) -> None:
        """Replace the pool of connections of a service that keeps one, after a request that did not end.

        The request keeps its connection, and the pool, which holds a few at most, would soon be empty.
        """
        if not self.service.cancels:
            self.async_operator = self._build()
            self.__dict__.pop("operator", None)

    @property
    def _in_worker(self) -> bool:
        """Whether blocking reads are made as such; see `workers.abandoned`."""
        return self.limit is None or workers.abandoned() < workers.MAX_ABANDONED

    @property
    def where(self) -> str:
        """Service, container and endpoint, for people; without secrets."""
        place = f" {self.container!r}" if self.container else ""
        endpoint = self.native.get("endpoint") or self.native.get("name_node")
        at = f" at {redact(endpoint)}" if endpoint else ""
        return f"{self.service.scheme}{place}{at}"

    @property
    def no_key(self) -> str:
        """What is wrong with a path that names the root and not a file in it."""
        name = self.service.container if self.container else None
        return (
            f"Is a {name}, without a key: write '{name}/key'"
            if name
            else "Is a directory: a file needs a name"
        )

    def name(self, key: str) -> str:
        """Give the path of a key, as the filesystem speaks of it."""
        return urls.join(self.service, self.container, key)

    def key(self, name: str) -> str:
        """Give the key of a path: the inverse of `name`."""
        return urls.split(self.service, name)[1] if self.container else name

    def explain(self, exc: BaseException, operation: str, key: str, pinned: bool = False) -> OSError | None:
        """Turn an error of OpenDAL into an OSError; None when it is none of OpenDAL's."""
        return translate_error(
            exc,
            operation,
            self.name(key.strip("/")),
            where=self.where,
            secrets=secret_values(self.native),
            pinned=pinned,
            region=self.native.get("region"),
            silent=self.service.silent,
        )

    def require(self, capability: str, operation: str) -> None:
        """Raise when the service cannot do something.

        Parameters
        ----------
        capability : str
            Name of OpenDAL's flag.
        operation : str
            What was asked, for the message.

        Raises
        ------
        UnsupportedError
        """
        if not getattr(self.capability, capability):
            raise UnsupportedError(f"the service {self.service.scheme} cannot {operation}")

    def can(self, capability: str) -> bool:
        """Tell whether the service has a capability, by the name of OpenDAL's flag."""
        return bool(getattr(self.capability, capability))

    def modified(self, key: str, metadata: Metadata) -> datetime | None:
        """Give the time a key was last written; kept here for stores that live in this process."""
        if self._written is None or metadata.last_modified is not None:
            return metadata.last_modified
        return self._written.get(key) or _STARTED

    def _touched(self, key: str) -> None:
        if self._written is not None:
            self._written.put(key, datetime.now(UTC))

    def _forget_time(self, key: str) -> None:
        # Before the removal: after it, this might take the time of a new object.
        if self._written is not None:
            self._written.pop(key)

    async def stat(self, key: str, **options: Any) -> Metadata:
        """Get a key's metadata."""
        with Call(self, "stat", key).awaited() as call:
            return await call.run_async(self.async_operator.stat, key, **options)

    def stat_blocking(self, key: str, **options: Any) -> Metadata:
        """Get a key's metadata."""
        if not self._in_worker:
            return run(self.stat, key, **options)
        with Call(self, "stat", key) as call:
            return call.run(self.operator.stat, key, **options)

    async def read(self, key: str, offset: int, size: int | None, **pin: Any) -> bytes:
        """Read `size` bytes from `offset` on, which must exist; all of the rest when size is None."""
        with Call(self, "read", key, bool(pin), offset, size).awaited() as call:
            if size is None or self._sends_ranges:
                data = await call.run_async(self.async_operator.read, key, offset=offset, size=size, **pin)
            else:
                data = await call.run_async(self._read_checked, key, offset, size, pin)
            call.moved(len(data))
            return data

    async def _read_checked(self, key: str, offset: int, size: int, pin: Mapping[str, Any]) -> bytes:
        """Read a range as a stream, and no further than one byte past it.

        OpenDAL reads an answer to its end before it looks whether that is the range: from a server that
        ignores ranges the whole object, and from one without end as much as there is memory. So the first
        range of a connection is read this way, which costs one more call and no request.
        """
        file = await self.async_operator.open(key, "rb", offset=offset, size=size, **pin)
        pieces: list[bytes] = []
        left = size + 1
        while left and (piece := await file.read(left)):
            pieces.append(piece)
            left -= len(piece)
        if not left:
            raise UnsupportedError(
                errno.ENOTSUP,
                f"The server ignores ranges: read the object whole ({self.where})",
                self.name(key),
            )
        self._sends_ranges = True
        return b"".join(pieces)

    def read_blocking(self, key: str, offset: int, size: int | None, **pin: Any) -> bytes:
        """Read `size` bytes from `offset` on, which must exist; all of the rest when size is None."""
        if not self._in_worker or not self._sends_ranges:
            return run(self.read, key, offset, size, **pin)
        with Call(self, "read", key, bool(pin), offset, size) as call:
            data = call.run(self.operator.read, key, offset=offset, size=size, **pin)
            call.moved(len(data))
            return data

    async def stream(self, key: str) -> AsyncGenerator[bytes, None]:
        """Read an object of unknown size with one request, piece by piece; all of it within `io_timeout`."""
        with Call(self, "read", key).awaited() as call:
            await call.hold()
            file = await call.run_async(self.async_operator.open, key, "rb")
            total = 0
            while piece := await call.run_async(file.read, _PIECE):
                total += len(piece)
                call.moved(total)
                yield piece

    async def write(self, key: str, data: bytes, **options: Any) -> None:
        """Write an object with one request."""
        with Call(self, "write", key).awaited() as call:
            await call.run_async(self.async_operator.write, key, data, **options)
            call.moved(len(data))
            if not data and not self.capability.write_can_empty:
                self._check_empty(key, await call.run_async(self._size, key))
        self._touched(key)

    def write_blocking(self, key: str, data: bytes, **options: Any) -> None:
        """Write an object with one request."""
        if self.limit is not None:
            run(self.write, key, data, **options)
            return
        with Call(self, "write", key) as call:
            self.operator.write(key, data, **options)
            call.moved(len(data))
            if not data and not self.capability.write_can_empty:
                self._check_empty(key, self._size_blocking(key))
        self._touched(key)

    async def _size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None when there is none."""
        try:
            return (await self.async_operator.stat(key)).content_length
        except NotFound:
            return None

    def _size_blocking(self, key: str) -> int | None:
        try:
            return self.operator.stat(key).content_length
        except NotFound:
            return None

    def _check_empty(self, key: str, size: int | None) -> None:
        """Raise when an empty write has left no empty object behind.

        Of the services whose `write_can_empty` is False, some store one, and some send no request at all.
        """
        if size == 0:
            return
        left = "nothing was written" if size is None else "what was there is unchanged"
        says = f"the service {self.service.scheme} cannot store an empty object: {left}"
        raise UnsupportedError(errno.ENOTSUP, says, self.name(key))

    def upload(self, key: str, **options: Any) -> Upload:
        """Start a multipart upload from the caller's thread."""
        return Upload(self, key, options)

    async def upload_async(self, key: str, **options: Any) -> AsyncUpload:
        """Start a multipart upload from a coroutine."""
        with Call(self, "write", key).awaited() as call:
            file = await call.run_async(self.async_operator.open, key, "wb", **options)
        return AsyncUpload(self, key, file)

    async def pages(self, key: str, **options: Any) -> AsyncGenerator[list[Entry], None]:
        """List below a key, a page at a time; a page that is not asked for is not fetched.

        Raises
        ------
        OSError
            When the server lists the same page again and again.
        """
        paging = Paging(self.service, self.name(key.strip("/")), options, PAGE)
        with Call(self, "list", key).awaited() as call:
            lister = await call.run_async(self.async_operator.list, key, **options)
            page: list[Entry] = []
            ended = False
            while not ended:
                wanted = paging.mark - len(page)
                taken = await call.run_async(_take, lister, wanted)
                page += taken
                ended = len(taken) < wanted
                if not ended and paging.fill(page):
                    call.moved(0, requests=len(paging.pages))
                    yield page
                    page = []
            if page or not paging.pages:
                call.moved(0, requests=len(paging.pages) + 1)
                yield page
                return
        if paging.last is None or not self.capability.list_with_start_after:
            return
        # The answer to the next page may have been an error of status 200, which OpenDAL takes for the end.
        async with aclosing(self.pages(key, **{**options, "start_after": paging.last})) as rest:
            async for page in rest:
                fresh = paging.unseen(page)
                if not fresh:
                    return
                yield fresh

    async def page(self, key: str, **options: Any) -> list[Entry]:
        """List the first page below a key: all there is, when it is less than `PAGE` entries."""
        async with aclosing(self.pages(key, **options)) as pages:
            return await anext(pages)

    async def list(self, key: str, most: int | None = None, **options: Any) -> list[Entry] | None:
        """List below a key, all pages; None when there are more than `most` entries.

        A partial list is never returned.
        """
        entries: list[Entry] = []
        async with aclosing(self.pages(key, **options)) as pages:
            async for page in pages:
                entries += page
                if most is not None and len(entries) > most:
                    return None
        return entries

    async def holds_any(self, key: str) -> bool:
        """Tell whether a directory or container holds anything; raises when the container is missing."""
        with Call(self, "list", key).awaited() as call:
            lister = await call.run_async(self.async_operator.list, key, limit=1)
            return bool(await call.run_async(_take, lister, 1))

    async def delete(self, key: str, **options: Any) -> None:
        """Delete a key; a missing one is no error."""
        with Call(self, "delete", key).awaited() as call:
            if self.is_link(key):
                # OpenDAL looks at what it leads to.
                os.unlink(self.local(key))
            else:
                self._forget_time(key)
                await call.run_async(self.async_operator.delete, key, **options)

    async def remove_all(self, prefix: str) -> None:
        """Delete everything below a prefix, which must end in ``/`` or be empty."""
        if prefix and not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} would also delete its siblings: it must end in '/'")
        left: str | None = None
        while True:
            try:
                await self._remove_all(prefix)
            except TimeoutError:
                # A large tree takes longer than one call may. It goes on for as long as keys disappear.
                before, left = left, await self._first(prefix)
                if left is None or left == before:
                    raise
            else:
                return

    async def _first(self, prefix: str) -> str | None:
        """Return the first key below a prefix, if the server still answers at once."""
        with suppress(OSError):
            async with asyncio.timeout(self.tuning.timeout / 10):
                page = await self.page(prefix or "/", recursive=True)
                return page[0].path if page else None
        return None

    async def _remove_all(self, prefix: str) -> None:
        with Call(self, "delete", prefix).awaited() as call:
            if self._written is not None:
                self._written.invalidate_below(prefix)
            await call.run_async(self.async_operator.remove_all, prefix or "/")
            call.moved(0, requests=2)

    async def copy(self, source: str, target: str) -> None:
        """Copy within the service."""
        with Call(self, "copy", source).awaited() as call:
            await call.run_async(self.async_operator.copy, source, target)
        self._touched(target)

    async def rename(self, source: str, target: str) -> None:
        """Rename within the service."""
        with Call(self, "rename", source).awaited() as call:
            if self.is_link(source):
                _carry(self.local(source), self.local(target))
            else:
                await call.run_async(self.async_operator.rename, source, target)
        self._touched(target)

    def rename_blocking(self, source: str, target: str) -> None:
        """Rename within the service."""
        if self.limit is not None:
            run(self.rename, source, target)
            return
        with Call(self, "rename", source):
            if self.is_link(source):
                _carry(self.local(source), self.local(target))
            else:
                self.operator.rename(source, target)
        self._touched(target)

    async def publish(self, stage: str, target: str, exclusive: bool = False) -> None:
        """Rename a staged file to its place, for `exclusive` a free one; errors name the place."""
        with Call(self, "rename", target).awaited():
            if exclusive:
                await asyncio.to_thread(self._take_place, stage, target)
            else:
                self._lend_mode(stage, target)
                await self.async_operator.rename(stage, target)
        self._touched(target)

    def publish_blocking(self, stage: str, target: str, exclusive: bool = False) -> None:
        """Rename a staged file to its place, for `exclusive` a free one; errors name the place."""
        with Call(self, "rename", target):
            if exclusive:
                self._take_place(stage, target)
            else:
                self._lend_mode(stage, target)
                self.operator.rename(stage, target)
        self._touched(target)

    def _lend_mode(self, stage: str, target: str) -> None:
        """Let a private file stay private when it is replaced."""
        # A file of another owner, or none at all, lends nothing.
        with suppress(OSError):
            os.chmod(self.local(stage), stat.S_IMODE(os.stat(self.local(target)).st_mode))

    def local(self, key: str) -> str:
        """Give the path that a key has on this machine's disk, for the service that serves it."""
        return os.path.join(self.native.get("root") or "/", key)

    def is_link(self, key: str) -> bool:
        """Tell whether a key is a symbolic link; asks the disk, and nothing where there are no links."""
        return self.service.form is Form.ABSOLUTE and os.path.islink(self.local(key))

    def _take_place(self, stage: str, target: str) -> None:
        """Do what OpenDAL has no call for: a rename that replaces nothing."""
        source, place = self.local(stage), self.local(target)
        try:
            os.link(source, place)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "File exists", self.name(target)) from None
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            # An empty file shows for a moment, but of two writers only one makes it.
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.replace(source, place)
        else:
            os.unlink(source)

    def delete_blocking(self, key: str) -> None:
        """Delete a key; a missing one is no error."""
        if self.limit is not None:
            run(self.delete, key)
            return
        with Call(self, "delete", key):
            if self.is_link(key):
                os.unlink(self.local(key))
            else:
                self._forget_time(key)
                self.operator.delete(key)

    async def create_dir(self, key: str) -> None:
        """Make a directory and the ones above it; the key must end in ``/``."""
        with Call(self, "create_dir", key).awaited() as call:
            await call.run_async(self.async_operator.create_dir, key)

    async def presign_read(self, key: str, seconds: int) -> PresignedRequest:
        """Make a signed GET request; asks nothing of the server."""
        self.require("presign_read", "sign URLs")
        with Call(self, "presign", key).awaited() as call:
            request = await call.run_async(self.async_operator.presign_read, key, seconds)
            call.moved(0, requests=0)
            return request


async def _take(lister: AsyncIterable[Entry], most: int) -> list[Entry]:
    """Take entries off a lister: so many, or all that are left."""
    entries: list[Entry] = []
    async for entry in lister:
        entries.append(entry)
        if len(entries) == most:
            break
    return entries


def _carry(link: str, target: str) -> None:
    """Move a link itself, where OpenDAL looks at what it leads to."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.rename(link, target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        os.symlink(os.readlink(link), target)
        os.unlink(link)
