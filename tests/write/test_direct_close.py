"""A close outside a `with` block: it publishes the write, or raises when an exception is in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import (
    ExitStack,
    closing,
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from tests.write.places import FILES, LARGE, Boom, Place, binary, put

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


def test_an_interrupt_is_raised_with_a_note_about_the_file(memory: Place) -> None:
    with pytest.raises(KeyboardInterrupt) as info:
        interrupted_and_closed(binary(memory))
    assert "Not published" in "".join(info.value.__notes__)


def test_an_exception_from_before_the_opening_does_not_matter(memory: Place) -> None:
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
    with pytest.raises(OSError, match=r"a write has failed\. Write the file again"):
        file.close()
    assert not place.published

    def ends_well_all_the_same() -> None:
        with monkeypatch.context() as patched, binary(place) as file:
            patched.setattr(connection, "upload", fail)
            with suppress(TimeoutError):
                put(file, LARGE)

    with pytest.raises(OSError, match=r"a write has failed\. Write the file again"):
        ends_well_all_the_same()
    assert not place.published
