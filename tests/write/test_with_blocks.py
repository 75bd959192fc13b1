"""A `with` block publishes a write when it ends without an exception, and only then."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from contextlib import (
    ExitStack,
    suppress,
)
from typing import Any

import pytest

from opendalfs.write.call_stack import with_block_failed
from tests.write.places import (
    FILES,
    LARGE,
    OPENINGS,
    Boom,
    Place,
    binary,
    compressed,
    compressed_text,
    gzip_file,
    open_file,
    open_text_file,
    put,
    stock_buffer,
    stock_text,
    text,
    zipped,
)


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


# The look at the frames


def test_a_with_statement_is_distinguished_from_a_handler() -> None:
    seen = []

    class Exit:
        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
            seen.append(exc is not None and with_block_failed(exc))

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
            seen.append(with_block_failed(exc))
            raise
        finally:
            seen.append(with_block_failed(sys.exception() or Boom()))
    assert seen[3:] == [False, False]
    assert not with_block_failed(Boom())
