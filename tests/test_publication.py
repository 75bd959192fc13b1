"""What a close publishes: a write that was closed or committed with success, and nothing else."""

from __future__ import annotations

import asyncio
import bz2
import gc
import gzip
import io
import json
import lzma
import sys
import threading
import warnings
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import (
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.zip import ZipFileSystem
from PIL import Image

import opendalfs
from opendalfs import OpendalFileSystem, UnsupportedError
from opendalfs.testing import S3Server
from opendalfs.write.callers import fails_block
from opendalfs.write.writer import State, Writer

LARGE = 9 << 20
"""More than one part, so that something has gone up before the write ends."""


class Boom(Exception):
    """Raised by the tests."""


class Place:
    """A filesystem and a folder of it that nobody else uses."""

    def __init__(self, fs: OpendalFileSystem, folder: str) -> None:
        self.fs = fs
        self.folder = folder
        self.path = f"{folder}/target"
        self.url = fs.unstrip_protocol(self.path)
        self.options = dict(fs.storage_options)

    @property
    def published(self) -> bool:
        return self.fs.exists(self.path, refresh=True)


@pytest.fixture
def memory() -> Place:
    return Place(opendalfs.filesystem("memory"), f"publication-{uuid4().hex}")


@pytest.fixture(params=["memory", "fs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return Place(opendalfs.filesystem("memory"), f"publication-{uuid4().hex}")
    if request.param == "fs":
        return Place(opendalfs.filesystem("fs"), str(tmp_path))
    server: S3Server = request.getfixturevalue("s3_server")
    return Place(opendalfs.filesystem("s3", **server.options), request.getfixturevalue("prefix"))


def dropped_files_may_warn() -> None:
    """Collect files that nobody closed, each of which warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# The states of a writer


def write_of(place: Place, data: bytes = b"new") -> Writer:
    writer = Writer(*place.fs.locate(place.path))
    writer.write(data)
    return writer


def failed_commit(place: Place) -> Writer:
    """A writer whose commit has failed, as another was faster."""
    writer = Writer(*place.fs.locate(place.path), exclusive=True)
    place.fs.pipe_file(place.path, b"other")
    with pytest.raises(FileExistsError):
        writer.commit()
    place.fs.rm_file(place.path)
    return writer


def committed(place: Place) -> Writer:
    writer = write_of(place)
    writer.commit()
    return writer


def aborted(place: Place) -> Writer:
    writer = write_of(place)
    assert writer.abort()
    return writer


@pytest.mark.parametrize("size", [3, LARGE])
def test_a_second_commit_raises_and_keeps_what_the_first_published(place: Place, size: int) -> None:
    data = b"x" * size
    writer = write_of(place, data)
    writer.commit()
    assert writer.state is State.COMMITTED
    with pytest.raises(ValueError, match=r"cannot commit: .* is committed already"):
        writer.commit()
    assert place.fs.cat_file(place.path) == data


@pytest.mark.parametrize("make", [aborted, failed_commit])
def test_a_commit_after_an_abort_or_a_failed_commit_raises(
    place: Place, make: Callable[[Place], Writer]
) -> None:
    writer = make(place)
    assert writer.state is State.ABORTED
    with pytest.raises(ValueError, match=r"cannot commit: .* is aborted already"):
        writer.commit()
    assert not place.published


@pytest.mark.parametrize("make", [committed, aborted, failed_commit])
def test_a_write_after_the_end_of_a_writer_raises(place: Place, make: Callable[[Place], Writer]) -> None:
    writer = make(place)
    with pytest.raises(ValueError, match="cannot write"):
        writer.write(b"more")


def test_an_abort_may_come_twice_and_never_removes_what_is_published(place: Place) -> None:
    writer = aborted(place)
    assert writer.abort()
    assert not place.published
    writer = committed(place)
    assert not writer.abort()
    assert writer.state is State.COMMITTED
    assert place.fs.cat_file(place.path) == b"new"


def test_an_upload_is_completed_once(place: Place) -> None:
    connection, key = place.fs.locate(place.path)
    if not connection.can("write_can_multi"):
        return
    upload = connection.upload(key, concurrent=2)
    upload.write(b"x" * LARGE)
    upload.complete()
    for again in (upload.complete, lambda: upload.write(b"y")):
        with pytest.raises(ValueError, match="was completed"):
            again()
    assert place.fs.size(place.path) == LARGE


def test_bytes_of_a_wrong_type_leave_the_write_as_it_was(memory: Place) -> None:
    file = memory.fs.open(memory.path, "wb")
    file.write(b"a")
    with pytest.raises(TypeError):
        file.write("b")
    file.close()
    assert memory.fs.cat_file(memory.path) == b"a"


@pytest.mark.parametrize("mode", ["wb", "w"])
@pytest.mark.parametrize("compression", [None, "gzip", "zip"])
class TestFiles:
    """A file, of text or compressed, has the states of its writer."""

    def test_nothing_follows_a_commit(self, memory: Place, mode: str, compression: str | None) -> None:
        file = memory.fs.open(memory.path, mode, compression=compression)
        data: Any = b"x" if mode == "wb" else "x"
        file.write(data)
        file.commit()
        before = memory.fs.cat_file(memory.path)
        with pytest.raises(ValueError, match=r"committed|published"):
            file.commit()
        with pytest.raises(ValueError, match="published already"):
            file.discard()
        file.close()
        assert memory.fs.cat_file(memory.path) == before
        with memory.fs.open(memory.path, "rb", compression=compression) as again:
            assert again.read() == b"x"

    def test_nothing_follows_a_discard(self, memory: Place, mode: str, compression: str | None) -> None:
        file = memory.fs.open(memory.path, mode, compression=compression)
        data: Any = b"x" if mode == "wb" else "x"
        file.write(data)
        file.discard()
        file.discard()
        if mode == "wb":
            with pytest.raises(ValueError, match="cannot write"):
                file.write(data)
        with pytest.raises(ValueError, match=r"aborted already|cannot"):
            file.commit()
        file.close()
        assert not memory.published


def test_a_file_of_a_transaction_is_committed_once(memory: Place) -> None:
    with memory.fs.transaction:
        file = memory.fs.open(memory.path, "wb")
        file.write(b"x")
        file.close()
        left_out = memory.fs.open(f"{memory.folder}/other", "wb")
        left_out.discard()
    for ended in (file, left_out):
        with pytest.raises(ValueError, match="cannot commit"):
            ended.commit()
    assert memory.fs.find(memory.folder, refresh=True) == [memory.path]


async def test_a_file_of_coroutines_has_the_same_states(place: Place) -> None:
    fs = type(place.fs)(**place.options, asynchronous=True)
    file = await fs.open_async(place.path, "wb")
    await file.write(b"x")
    await file.commit()
    for again in (file.commit(), file.discard(), file.write(b"y")):
        with pytest.raises(ValueError, match=r"committed|published"):
            await again
    await file.close()
    assert await fs._cat_file(place.path) == b"x"
    file = await fs.open_async(place.path, "wb")
    await file.write(b"y")
    await file.discard()
    await file.discard()
    with pytest.raises(ValueError, match="aborted"):
        await file.commit()
    await file.close()
    assert await fs._cat_file(place.path) == b"x"


# How a file is opened, and how its block ends


def binary(place: Place) -> Any:
    return place.fs.open(place.path, "wb")


def text(place: Place) -> Any:
    return place.fs.open(place.path, "w")


def compressed(place: Place) -> Any:
    return place.fs.open(place.path, "wb", compression="gzip")


def compressed_text(place: Place) -> Any:
    return place.fs.open(place.path, "w", compression="xz")


def zipped(place: Place) -> Any:
    return place.fs.open(place.path, "wb", compression="zip")


def open_file(place: Place) -> Any:
    return fsspec.open(place.url, "wb", **place.options)


def open_text_file(place: Place) -> Any:
    return fsspec.open(place.url, "w", **place.options)


def open_compressed_text_file(place: Place) -> Any:
    return fsspec.open(place.url, "wt", compression="gzip", **place.options)


def stock_text(place: Place) -> Any:
    return io.TextIOWrapper(binary(place))


def stock_buffer(place: Place) -> Any:
    return io.BufferedWriter(binary(place))


def arrow_stream(place: Place) -> Any:
    return opendalfs.arrow(place.fs).open_output_stream(place.path)


def arrow_file(place: Place) -> Any:
    return pa.PythonFile(binary(place), mode="w")


@contextmanager
def over(place: Place, wrap: Callable[[Any], Any]) -> Iterator[Any]:
    with place.fs.open(place.path, "wb") as file, wrap(file) as wrapper:
        yield wrapper


def gzip_file(place: Place) -> Any:
    return over(place, lambda file: gzip.GzipFile(fileobj=file, mode="wb"))


def bz2_file(place: Place) -> Any:
    return over(place, lambda file: bz2.BZ2File(file, "wb"))


def lzma_file(place: Place) -> Any:
    return over(place, lambda file: lzma.LZMAFile(file, "wb"))


OPENINGS = [
    binary,
    text,
    compressed,
    compressed_text,
    zipped,
    open_file,
    open_text_file,
    open_compressed_text_file,
    stock_text,
    stock_buffer,
    arrow_stream,
    arrow_file,
    gzip_file,
    bz2_file,
    lzma_file,
]
"""All are context managers whose value takes bytes or text."""

FILES = OPENINGS[:5] + OPENINGS[8:12]
"""Those that are the file themselves, and so have a close."""


def put(file: Any, size: int = 1000) -> None:
    try:
        file.write(b"x" * size)
    except TypeError:
        file.write("x" * size)


def ends_well(opened: Any) -> None:
    with opened as file:
        put(file)


def fails(opened: Any, size: int = 1000) -> None:
    with opened as file:
        put(file, size)
        raise Boom


def is_interrupted(opened: Any) -> None:
    with opened as file:
        put(file)
        raise KeyboardInterrupt


def fails_in_an_exit_stack(opened: Any) -> None:
    with ExitStack() as stack:
        put(stack.enter_context(opened))
        raise Boom


def succeeds_in_a_handler(opened: Any) -> None:
    """The file is made before the exception and opened in its handler, as a report of it would be."""
    try:
        raise Boom
    except Boom:
        with opened as file:
            put(file)


def fails_in_a_handler(opened: Any) -> None:
    try:
        raise KeyError
    except KeyError:
        with opened as file:
            put(file)
            raise Boom from None


BLOCKS: list[tuple[Callable[[Any], None], type[BaseException] | None]] = [
    (ends_well, None),
    (fails, Boom),
    (is_interrupted, KeyboardInterrupt),
    (fails_in_an_exit_stack, Boom),
    (fails_in_a_handler, Boom),
]


@pytest.mark.parametrize(("block", "error"), BLOCKS)
@pytest.mark.parametrize("opening", OPENINGS)
def test_a_block_publishes_when_it_ends_well_and_passes_on_its_own_exception(
    memory: Place,
    opening: Callable[[Place], Any],
    block: Callable[[Any], None],
    error: type[BaseException] | None,
) -> None:
    opened = opening(memory)
    if error is None:
        block(opened)
    else:
        with pytest.raises(error) as info:
            block(opened)
        assert type(info.value) is error
    del opened
    gc.collect()
    assert memory.published == (error is None)


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_block_that_raises_the_handled_exception_again_publishes_nothing(
    memory: Place, opening: Callable[[Place], Any]
) -> None:
    def report() -> None:
        try:
            raise Boom
        except Boom as exc:
            with opening(memory) as file:
                put(file)
                raise exc

    with pytest.raises(Boom):
        report()
    assert not memory.published


def test_a_file_that_is_opened_and_closed_in_an_exit_is_published(memory: Place) -> None:
    class Report:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *details: object) -> None:
            file = stock_buffer(memory)
            put(file)
            file.close()

    with pytest.raises(Boom), Report():
        raise Boom
    assert memory.published


@pytest.mark.parametrize("opening", [binary, text, compressed, compressed_text, zipped, open_file, gzip_file])
def test_a_block_within_a_handler_publishes(memory: Place, opening: Callable[[Place], Any]) -> None:
    succeeds_in_a_handler(opening(memory))
    assert memory.published


@pytest.mark.parametrize("opening", [*FILES, open_file])
def test_a_write_after_the_end_of_a_block_raises(memory: Place, opening: Callable[[Place], Any]) -> None:
    for error in (None, Boom):
        with suppress(Boom), opening(memory) as file:
            if error is not None:
                raise error
        with pytest.raises(ValueError, match="closed"):
            put(file)


def test_a_block_that_fails_publishes_nothing_anywhere(place: Place) -> None:
    for opening in (binary, text, open_text_file, stock_text):
        with pytest.raises(Boom):
            fails(opening(place), LARGE)
        assert not place.published
        assert place.fs.find(place.folder, refresh=True) == []


# What is closed directly


def close_at_the_end(file: Any) -> None:
    put(file)
    file.close()


def close_after_a_handled_exception(file: Any) -> None:
    put(file)
    with suppress(Boom):
        raise Boom
    try:
        raise Boom
    except Boom:
        pass
    file.close()


def close_in_finally_without_exception(file: Any) -> None:
    try:
        put(file)
    finally:
        file.close()


def close_in_except(file: Any) -> None:
    try:
        put(file)
        raise Boom
    except Boom:
        file.close()


def close_in_finally(file: Any) -> None:
    try:
        put(file)
        raise Boom
    finally:
        file.close()


def close_after_a_nested_exception(file: Any) -> None:
    try:
        raise KeyError
    except KeyError:
        close_in_except(file)


def close_in_a_context_manager(file: Any) -> None:
    @contextmanager
    def manager() -> Iterator[Any]:
        try:
            yield file
        finally:
            file.close()

    with manager() as opened:
        put(opened)
        raise Boom


def closing_fails(file: Any) -> None:
    with closing(file):
        put(file)
        raise Boom


def callback_fails(file: Any) -> None:
    with ExitStack() as stack:
        stack.callback(file.close)
        put(file)
        raise Boom


def closing_ends_well(file: Any) -> None:
    with closing(file):
        put(file)


def in_another_thread(file: Any) -> None:
    put(file)
    try:
        raise Boom
    except Boom:
        # What is handled here is nothing to the thread that closes.
        thread = threading.Thread(target=file.close)
        thread.start()
        thread.join()


def interrupted_and_closed(file: Any) -> None:
    try:
        put(file)
        raise KeyboardInterrupt
    finally:
        file.close()


def generator_ends_in_a_block(file: Any) -> None:
    def consumer() -> Generator[None, None, None]:
        with file:
            put(file)
            while True:
                yield

    running = consumer()
    next(running)
    running.close()


CLOSES: list[tuple[Callable[[Any], None], type[BaseException] | None]] = [
    (close_at_the_end, None),
    (close_after_a_handled_exception, None),
    (close_in_finally_without_exception, None),
    (closing_ends_well, None),
    (in_another_thread, None),
    (close_in_except, OSError),
    (close_in_finally, OSError),
    (close_after_a_nested_exception, OSError),
    (close_in_a_context_manager, OSError),
    (generator_ends_in_a_block, OSError),
    (closing_fails, Boom),
    (callback_fails, Boom),
    (interrupted_and_closed, KeyboardInterrupt),
]


@pytest.mark.parametrize(("close", "error"), CLOSES)
@pytest.mark.parametrize("opening", FILES)
def test_a_direct_close_publishes_or_raises(
    memory: Place,
    opening: Callable[[Place], Any],
    close: Callable[[Any], None],
    error: type[BaseException] | None,
) -> None:
    file = opening(memory)
    if error is None:
        close(file)
    else:
        with pytest.raises(error) as info:
            close(file)
        assert type(info.value) is error
        if error is OSError:
            assert "Not published" in str(info.value)
            assert "Call commit() to publish, discard() to drop" in str(info.value)
    assert memory.published == (error is None)
    file.close()
    assert memory.published == (error is None)


def test_an_interrupt_is_not_replaced_and_tells_what_became_of_the_file(memory: Place) -> None:
    with pytest.raises(KeyboardInterrupt) as info:
        interrupted_and_closed(binary(memory))
    assert "Not published" in "".join(info.value.__notes__)


def test_an_exception_from_before_the_opening_is_none_of_the_file(memory: Place) -> None:
    try:
        raise Boom
    except Boom:
        try:
            raise KeyError
        except KeyError:
            file = memory.fs.open(memory.path, "wb")
            file.write(b"x")
        # The handler of the exception that was there first goes on.
        file.close()
    assert memory.fs.cat_file(memory.path) == b"x"


def test_a_block_of_a_file_opened_before_publishes_within_a_handler(memory: Place) -> None:
    file, other = binary(memory), memory.fs.open(f"{memory.folder}/text", "w")
    try:
        raise Boom
    except Boom:
        with file:
            file.write(b"x")
        with other:
            other.write("x")
    assert memory.fs.cat_file(memory.path) == memory.fs.cat_file(f"{memory.folder}/text") == b"x"


@pytest.mark.parametrize("opening", FILES[:5])
def test_commit_and_discard_settle_it_in_a_handler(memory: Place, opening: Callable[[Place], Any]) -> None:
    file = opening(memory)
    try:
        put(file)
        raise Boom
    except Boom:
        file.discard()
        file.close()
    assert not memory.published
    file = opening(memory)
    try:
        put(file)
        raise Boom
    except Boom:
        file.commit()
        file.close()
    assert memory.published


def test_a_close_after_a_failed_write_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(opendalfs.filesystem("fs"), str(tmp_path))
    file = binary(place)

    def fail(*args: object, **kwargs: object) -> None:
        raise TimeoutError

    connection = place.fs.locate(place.path)[0]
    with monkeypatch.context() as patched:
        patched.setattr(connection, "upload", fail)
        with pytest.raises(TimeoutError):
            put(file, LARGE)
    with pytest.raises(OSError, match="a write of it has failed"):
        file.close()
    assert not place.published

    def ends_well_all_the_same() -> None:
        with monkeypatch.context() as patched, binary(place) as file:
            patched.setattr(connection, "upload", fail)
            with suppress(TimeoutError):
                put(file, LARGE)

    with pytest.raises(OSError, match="a write of it has failed"):
        ends_well_all_the_same()
    assert not place.published


# Other libraries


class Unprintable:
    def __str__(self) -> str:
        raise Boom


def pandas_csv(place: Place, fail: bool) -> None:
    rows = [1] * 50_000 + ([Unprintable()] if fail else [])
    frame = pd.DataFrame({"a": rows}, dtype=object)
    frame.to_csv(place.url, storage_options=place.options, chunksize=1000)


def pandas_compressed_csv(place: Place, fail: bool) -> None:
    rows = [1] * 50_000 + ([Unprintable()] if fail else [])
    frame = pd.DataFrame({"a": rows}, dtype=object)
    frame.to_csv(place.url, storage_options=place.options, chunksize=1000, compression="gzip")


def arrow_batches(fail: bool) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"x": [1, 2, 3]})
    if fail:
        raise Boom


def parquet_writer(place: Place, fail: bool) -> None:
    schema = pa.schema({"x": pa.int64()})
    with pq.ParquetWriter(place.path, schema, filesystem=opendalfs.arrow(place.fs)) as writer:
        for batch in arrow_batches(fail):
            writer.write_batch(batch)


def parquet_writer_of_a_file(place: Place, fail: bool) -> None:
    schema = pa.schema({"x": pa.int64()})
    with binary(place) as file, pq.ParquetWriter(file, schema) as writer:
        for batch in arrow_batches(fail):
            writer.write_batch(batch)


def arrow_csv(place: Place, fail: bool) -> None:
    schema = pa.schema({"x": pa.int64()})
    with binary(place) as file, pyarrow.csv.CSVWriter(file, schema) as writer:
        for batch in arrow_batches(fail):
            writer.write_batch(batch)


def arrow_ipc(place: Place, fail: bool) -> None:
    schema = pa.schema({"x": pa.int64()})
    with binary(place) as file, pa.ipc.new_file(file, schema) as writer:
        for batch in arrow_batches(fail):
            writer.write_batch(batch)


def json_dump(place: Place, fail: bool) -> None:
    class Encoder(json.JSONEncoder):
        def default(self, o: object) -> str:
            if fail:
                raise Boom
            return "x"

    with text(place) as file:
        json.dump({"a": ["x"] * 10_000, "b": object()}, file, cls=Encoder)


def numpy_savez(place: Place, fail: bool) -> None:
    class Odd:
        def __reduce__(self) -> Any:
            if fail:
                raise Boom
            return (Odd, ())

    with binary(place) as file:
        np.savez(file, a=np.zeros(100), b=np.array([int] if not fail else [Odd()], dtype=object))


def numpy_savetxt(place: Place, fail: bool) -> None:
    """It tries to write text, and writes bytes when that is a TypeError."""
    with binary(place) as file:
        np.savetxt(file, np.zeros(10))
        if fail:
            raise Boom


def image(place: Place, fail: bool) -> None:
    with binary(place) as file:
        Image.new("RGB", (10, 10)).save(file, "png")
        if fail:
            raise Boom


def zip_file(place: Place, fail: bool) -> None:
    with binary(place) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"x")
        if fail:
            raise Boom


LIBRARIES = [
    pandas_csv,
    pandas_compressed_csv,
    parquet_writer,
    parquet_writer_of_a_file,
    arrow_csv,
    arrow_ipc,
    json_dump,
    numpy_savez,
    numpy_savetxt,
    image,
    zip_file,
]


@pytest.mark.parametrize("write", LIBRARIES)
def test_a_library_that_fails_in_mid_write_publishes_nothing(
    memory: Place, write: Callable[[Place, bool], None]
) -> None:
    with pytest.raises(Boom) as info:
        write(memory, True)
    assert type(info.value) is Boom
    dropped_files_may_warn()
    assert not memory.published
    write(memory, False)
    assert memory.published


def test_a_file_that_a_finalizer_closes_is_not_published_and_logged(
    memory: Place, caplog: pytest.LogCaptureFixture
) -> None:
    class Owner:
        def __init__(self) -> None:
            self.file = binary(memory)
            self.file.write(b"half")

        def __del__(self) -> None:
            self.file.close()

    owners = [Owner()]
    owners.clear()
    assert "was not published: a finalizer closed it" in caplog.text
    assert not memory.published


@pytest.mark.parametrize("opening", FILES)
def test_a_file_that_a_finalizer_opens_and_closes_is_published(
    memory: Place, opening: Callable[[Place], Any]
) -> None:
    class Owner:
        def __del__(self) -> None:
            with opening(memory) as file:
                put(file)

    owners = [Owner()]
    owners.clear()
    assert memory.published


# Archives of fsspec


def archive_of_a_url(place: Place) -> ZipFileSystem:
    return fsspec.filesystem("zip", fo=place.url, mode="w", target_options=place.options)


def archive_of_an_open_file(place: Place) -> ZipFileSystem:
    return ZipFileSystem(fo=open_file(place), mode="w")


def archive_of_a_file(place: Place) -> ZipFileSystem:
    return ZipFileSystem(fo=binary(place), mode="w")


ARCHIVES = [archive_of_a_url, archive_of_an_open_file, archive_of_a_file]


@pytest.mark.parametrize("make", ARCHIVES)
def test_the_close_of_an_archive_publishes_it(place: Place, make: Callable[[Place], ZipFileSystem]) -> None:
    archive = make(place)
    archive.pipe("inner/a.txt", b"in a zip")
    with archive.open("b.txt", "wb") as member:
        member.write(b"another")
    assert not place.published
    archive.close()
    with place.fs.open(place.path) as file, zipfile.ZipFile(file) as found:
        assert found.read("inner/a.txt") == b"in a zip"
        assert found.read("b.txt") == b"another"
    archive.close()
    del archive
    gc.collect()
    assert place.published


@pytest.mark.parametrize("make", ARCHIVES)
def test_an_archive_that_is_not_closed_or_fails_is_not_published(
    memory: Place, make: Callable[[Place], ZipFileSystem], caplog: pytest.LogCaptureFixture
) -> None:
    archives = [make(memory)]
    archives[0].pipe("a", b"x")
    archives.clear()
    assert "was not published: a finalizer closed it" in caplog.text

    def fail_in_block() -> None:
        with closing(make(memory)) as archive:
            archive.pipe("a", b"x")
            raise Boom

    def fail_before_finally() -> None:
        archive = make(memory)
        try:
            raise Boom
        finally:
            archive.close()

    with pytest.raises(Boom):
        fail_in_block()
    with pytest.raises(OSError, match="Not published"):
        fail_before_finally()
    dropped_files_may_warn()
    assert not memory.published


def test_an_archive_whose_publication_fails_says_so_at_its_close(memory: Place) -> None:
    archive = ZipFileSystem(fo=memory.fs.open(memory.path, "xb"), mode="w")
    archive.pipe("a", b"x")
    memory.fs.pipe_file(memory.path, b"other")
    with pytest.raises(FileExistsError):
        archive.close()
    assert memory.fs.cat_file(memory.path) == b"other"


def test_a_member_of_an_archive_in_a_chained_url_is_refused_at_the_open(memory: Place) -> None:
    chained = f"zip://a.csv::{memory.url}"
    with (
        pytest.raises(UnsupportedError, match="open it yourself") as info,
        fsspec.open(chained, "wb", zip={"mode": "w"}),
    ):
        pass
    assert "zipfile.ZipFile(file" in str(info.value)
    with pytest.raises(UnsupportedError):
        pd.DataFrame({"a": [1]}).to_csv(chained, storage_options={"zip": {"mode": "w"}})
    with pytest.raises(UnsupportedError, match="not changed in place"):
        fsspec.filesystem("zip", fo=memory.url, mode="a")
    assert not memory.published


# The look at the frames


def test_a_with_statement_is_told_from_a_handler() -> None:
    seen = []

    class Exit:
        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
            seen.append(exc is not None and fails_block(exc))

        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
            await asyncio.sleep(0)
            self.__exit__(kind, exc, traceback)

    async def failing() -> None:
        async with Exit():
            raise Boom

    with Exit():
        pass
    with suppress(Boom), Exit():
        raise Boom
    with suppress(Boom):
        asyncio.run(failing())
    assert seen == [False, True, True]
    with suppress(Boom):
        try:
            raise Boom
        except Boom as exc:
            seen.append(fails_block(exc))
            raise
        finally:
            seen.append(fails_block(sys.exception() or Boom()))
    assert seen[3:] == [False, False]
    assert not fails_block(Boom())


# Coroutines


async def async_ends_well(file: Any) -> None:
    async with file:
        await file.write(bytes(LARGE))


async def async_fails(file: Any) -> None:
    async with file:
        await file.write(bytes(LARGE))
        raise Boom


async def async_is_cancelled(file: Any) -> None:
    async with file:
        await file.write(bytes(LARGE))
        raise asyncio.CancelledError


async def async_close_at_the_end(file: Any) -> None:
    await file.write(bytes(LARGE))
    with suppress(Boom):
        raise Boom
    await file.close()


async def async_close_in_except(file: Any) -> None:
    try:
        await file.write(bytes(LARGE))
        raise Boom
    except Boom:
        await file.close()


async def async_close_in_finally(file: Any) -> None:
    try:
        await file.write(bytes(LARGE))
        raise Boom
    finally:
        await file.close()


async def async_cancelled_and_closed(file: Any) -> None:
    try:
        await file.write(bytes(LARGE))
        raise asyncio.CancelledError
    finally:
        await file.close()


async def async_stack_fails(file: Any) -> None:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(file.close)
        await file.write(bytes(LARGE))
        raise Boom


async def async_generator_ends(file: Any) -> None:
    async def consumer() -> AsyncIterator[None]:
        async with file:
            await file.write(bytes(LARGE))
            while True:
                yield

    running: Any = consumer()
    await anext(running)
    await running.aclose()


async def async_block_in_a_handler(file: Any) -> None:
    try:
        raise Boom
    except Boom:
        async with file:
            await file.write(bytes(LARGE))


async def async_manager_fails(file: Any) -> None:
    @asynccontextmanager
    async def manager() -> AsyncIterator[Any]:
        async with file:
            yield file

    async with manager() as opened:
        await opened.write(bytes(LARGE))
        raise Boom


ASYNC: list[tuple[Callable[[Any], Awaitable[None]], type[BaseException] | None]] = [
    (async_ends_well, None),
    (async_close_at_the_end, None),
    (async_block_in_a_handler, None),
    (async_fails, Boom),
    (async_manager_fails, Boom),
    (async_stack_fails, Boom),
    (async_is_cancelled, asyncio.CancelledError),
    (async_cancelled_and_closed, asyncio.CancelledError),
    (async_close_in_except, OSError),
    (async_close_in_finally, OSError),
    (async_generator_ends, OSError),
]


@pytest.mark.parametrize(("block", "error"), ASYNC)
async def test_a_file_of_coroutines_publishes_by_the_same_rule(
    place: Place, block: Callable[[Any], Awaitable[None]], error: type[BaseException] | None
) -> None:
    fs = type(place.fs)(**place.options, asynchronous=True)
    file = await fs.open_async(place.path, "wb")
    if error is None:
        await block(file)
    else:
        with pytest.raises(error) as info:
            await block(file)
        assert type(info.value) is error
    assert await fs._exists(place.path, refresh=True) == (error is None)
    await file.close()
    assert await fs._exists(place.path, refresh=True) == (error is None)
