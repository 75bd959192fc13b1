"""States of a write: open, committed or aborted, and what each of them refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opendalfs.write.writer import State, Writer
from tests.write.places import LARGE, Place, write_of


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
    with pytest.raises(ValueError, match=r"cannot commit: .* is already committed"):
        writer.commit()
    assert place.fs.cat_file(place.path) == data


@pytest.mark.parametrize("make", [aborted, failed_commit])
def test_a_commit_after_an_abort_or_a_failed_commit_raises(
    place: Place, make: Callable[[Place], Writer]
) -> None:
    writer = make(place)
    assert writer.state is State.ABORTED
    with pytest.raises(ValueError, match=r"cannot commit: .* is already aborted"):
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
        with pytest.raises(ValueError, match="has ended: start another one"):
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
        with pytest.raises(ValueError, match=r"already aborted|cannot"):
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
