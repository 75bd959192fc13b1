"""Files opened for writing: modes, compression, transactions, and when they are published."""

from __future__ import annotations

import gc
import gzip
import io
import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import fsspec
import pandas as pd
import pytest

import opendalfs
from opendalfs import OptionError
from opendalfs.testing import S3Server
from tests.fs.places import Boom, MiB, Place

LINES = b"".join(b"line %d\n" % i for i in range(3000))


# Compression


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz", "lzma", "zstd"])
class TestCompression:
    def test_goes_in_and_out(self, place: Place, compression: str) -> None:
        path = place.path("lines")
        with place.fs.open(path, "wb", compression=compression) as file:
            assert file.write(LINES) == len(LINES)
        assert place.fs.size(path) < len(LINES) / 2
        with place.fs.open(path, "rb", compression=compression) as file:
            assert file.read() == LINES
        with place.fs.open(path, "rt", compression=compression) as text:
            assert text.readline() == "line 0\n"

    def test_goes_in_as_text(self, place: Place, compression: str) -> None:
        with place.fs.open(place.path("t"), "wt", compression=compression) as text:
            text.write("h\u00e9llo\n" * 1000)
        with place.fs.open(place.path("t"), "rt", compression=compression) as text:
            assert text.read() == "h\u00e9llo\n" * 1000

    def test_publishes_nothing_on_an_exception(self, place: Place, compression: str) -> None:
        for mode, data in (("wb", LINES), ("wt", LINES.decode())):
            with (
                suppress(Boom),
                place.fs.open(place.path("t"), mode, compression=compression) as file,
            ):
                file.write(data)
                raise Boom
        assert place.there() == []

    def test_publishes_nothing_when_lost(self, place: Place, compression: str) -> None:
        for mode, data in (("wb", LINES), ("wt", LINES.decode())):
            file = place.fs.open(place.path("t"), mode, compression=compression)
            file.write(data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del file
                gc.collect()
        assert place.there() == []


def test_compression_is_inferred_from_the_name(place: Place) -> None:
    with place.fs.open(place.path("a.gz"), "wb", compression="infer") as file:
        file.write(LINES)
    assert gzip.decompress(place.fs.cat_file(place.path("a.gz"))) == LINES


# Writing


@pytest.mark.parametrize("size", [0, 1, 5 * MiB, 5 * MiB + 1, 17 * MiB + 3])
@pytest.mark.parametrize("step", [MiB - 1, 20 * MiB])
def test_what_was_written_is_there_after_the_close(place: Place, size: int, step: int) -> None:
    data = random.Random(size).randbytes(size)
    with place.fs.open(place.path("new"), "wb") as file:
        for i in range(0, size, step):
            assert file.write(memoryview(data)[i : i + step]) == len(data[i : i + step])
            assert file.tell() == len(data[: i + step])
        assert "new" not in place.there()
    assert place.fs.cat_file(place.path("new")) == data
    assert place.there() == ["new"]


def test_a_file_being_written_is_writable_and_not_readable(place: Place) -> None:
    with place.fs.open(place.path("new"), "wb") as file:
        assert (file.readable(), file.writable(), file.seekable()) == (False, True, False)
        assert file.name == place.path("new")
        file.flush()
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")
    file.close()
    assert place.fs.cat_file(place.path("new")) == b""


def test_text_is_written_encoded(place: Place) -> None:
    with place.fs.open(place.path("t"), "w", encoding="utf-16", newline="\r\n") as text:
        text.write("h\u00e9\n")
    assert place.fs.cat_file(place.path("t")).decode("utf-16") == "h\u00e9\r\n"


def test_options_of_a_write_are_checked_and_kept(s3_server: S3Server, prefix: str) -> None:
    fs = opendalfs.S3FileSystem(**s3_server.options)
    with fs.open(f"{prefix}/a", "wb", content_type="text/x-test", metadata={"who": "me"}) as file:
        file.write(b"x")
    head = s3_server.client.head_object(Bucket=s3_server.bucket, Key=f"{prefix}/a".partition("/")[2])
    assert (head["ContentType"], head["Metadata"]) == ("text/x-test", {"who": "me"})
    with pytest.raises(OptionError, match="content_typ"):
        fs.open(f"{prefix}/a", "wb", content_typ="x")


def test_a_write_replaces_only_the_version_that_it_names(s3_server: S3Server, prefix: str) -> None:
    fs, path = opendalfs.S3FileSystem(**s3_server.options), f"{prefix}/a"
    fs.pipe_file(path, b"first")
    first = fs.info(path, refresh=True)["ETag"]
    fs.pipe_file(path, b"second", if_match=first)
    with pytest.raises(FileExistsError, match="exists or has changed"):
        fs.pipe_file(path, b"third", if_match=first)
    with pytest.raises(FileExistsError), fs.open(path, "wb", if_match=first) as file:
        file.write(b"third")
    assert fs.cat_file(path) == b"second"


# Ways to fail


def fill(file: Any, mode: str) -> None:
    file.write("x" * 6 * MiB if "b" not in mode else b"x" * 6 * MiB)


def fail_in_with(place: Place, path: str, mode: str) -> None:
    with suppress(Boom), place.fs.open(path, mode) as file:
        fill(file, mode)
        raise Boom


def fail_in_open_file(place: Place, path: str, mode: str) -> None:
    url = place.fs.unstrip_protocol(path)
    with suppress(Boom), fsspec.open(url, mode, **dict(place.fs.storage_options)) as file:
        fill(file, mode)
        raise Boom


def fail_in_compressed_open_file(place: Place, path: str, mode: str) -> None:
    url = place.fs.unstrip_protocol(path)
    options = dict(place.fs.storage_options)
    with suppress(Boom), fsspec.open(url, mode, compression="gzip", **options) as file:
        fill(file, mode)
        raise Boom


def fail_before_finally(place: Place, path: str, mode: str) -> None:
    file = place.fs.open(path, mode)

    def work() -> None:
        try:
            fill(file, mode)
            raise Boom
        finally:
            file.close()

    with pytest.raises(OSError, match="Not published: closed while Boom was being handled"):
        work()


def fail_and_close_in_the_handler(place: Place, path: str, mode: str) -> None:
    file = place.fs.open(path, mode)
    try:
        fill(file, mode)
        raise Boom
    except Boom:
        with pytest.raises(OSError, match="Not published: closed while Boom was being handled"):
            file.close()


def discarded(place: Place, path: str, mode: str) -> None:
    file = place.fs.open(path, mode)
    fill(file, mode)
    file.discard()
    file.close()


def lost(place: Place, path: str, mode: str) -> None:
    file = place.fs.open(path, mode)
    fill(file, mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del file
        gc.collect()


def lost_in_a_circle(place: Place, path: str, mode: str) -> None:
    circle: list[Any] = [place.fs.open(path, mode)]
    circle.append(circle)
    fill(circle[0], mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del circle
        gc.collect()


def rolled_back(place: Place, path: str, mode: str) -> None:
    with suppress(Boom), place.fs.transaction:
        with place.fs.open(path, mode) as file:
            fill(file, mode)
        raise Boom


def never_committed(place: Place, path: str, mode: str) -> None:
    with place.fs.open(path, mode, autocommit=False) as file:
        fill(file, mode)


FAILURES: list[Callable[[Place, str, str], None]] = [
    fail_in_with,
    fail_in_open_file,
    fail_in_compressed_open_file,
    fail_before_finally,
    fail_and_close_in_the_handler,
    discarded,
    lost,
    lost_in_a_circle,
    rolled_back,
    never_committed,
]


@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("mode", ["wb", "w", "ab"])
@pytest.mark.parametrize("fail", FAILURES)
def test_a_write_that_fails_publishes_nothing(
    place: Place, fail: Callable[[Place, str, str], None], mode: str, existing: bool
) -> None:
    path = place.path("target")
    if existing:
        place.fs.pipe_file(path, b"before")
    fail(place, path, mode)
    assert place.there() == (["target"] if existing else [])
    if existing:
        assert place.fs.cat_file(path) == b"before"


def test_a_table_that_fails_midway_publishes_nothing(place: Place) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise Boom

    frame = pd.DataFrame({"a": [1] * 50_000 + [Unprintable()]}, dtype=object)
    url = place.fs.unstrip_protocol(place.path("t.csv"))
    with pytest.raises(Boom):
        frame.to_csv(url, storage_options=dict(place.fs.storage_options), chunksize=1000)
    assert place.there() == []
    pd.DataFrame({"a": [1, 2]}).to_csv(url, index=False, storage_options=dict(place.fs.storage_options))
    assert place.fs.cat_file(place.path("t.csv")) == b"a\n1\n2\n"


def test_a_lost_file_warns(place: Place) -> None:
    file = place.fs.open(place.path("new"), "wb")
    file.write(b"x")
    held = [file]
    del file
    with pytest.warns(ResourceWarning, match="never closed, so it was not published"):
        held.clear()


def test_a_close_outside_of_exceptions_publishes(place: Place) -> None:
    file = place.fs.open(place.path("new"), "wb")
    file.write(b"x")
    file.close()
    assert place.fs.cat_file(place.path("new")) == b"x"


def test_a_file_opened_while_an_exception_is_handled_publishes(place: Place) -> None:
    try:
        raise Boom
    except Boom:
        with place.fs.open(place.path("report"), "wb") as file:
            file.write(b"failed")
        text = place.fs.open(place.path("text"), "w")
        text.write("failed")
        text.close()
    assert place.fs.cat_file(place.path("report")) == b"failed"
    assert place.fs.cat_file(place.path("text")) == b"failed"


def test_commit_publishes_even_in_a_handler(place: Place) -> None:
    file = place.fs.open(place.path("new"), "wb")
    try:
        file.write(b"x")
        raise Boom
    except Boom:
        file.commit()
        file.close()
    assert place.fs.cat_file(place.path("new")) == b"x"


# Transactions


def test_a_transaction_publishes_all_at_its_end(place: Place) -> None:
    with place.fs.transaction:
        for name in ("a", "b"):
            with place.fs.open(place.path(name), "wb") as file:
                file.write(name.encode() * 6 * MiB)
        with place.fs.open(place.path("t"), "w") as text:
            text.write("text")
        assert [name for name in place.there() if not name.startswith(".")] == []
    assert place.there() == ["a", "b", "t"]
    assert place.fs.cat_file(place.path("b")) == b"b" * 6 * MiB


def test_a_block_that_fails_within_a_transaction_is_left_out(place: Place) -> None:
    with place.fs.transaction:
        with place.fs.open(place.path("a"), "wb") as file:
            file.write(b"a")
        with suppress(Boom), place.fs.open(place.path("b"), "wb") as file:
            file.write(b"b")
            raise Boom
    assert place.there() == ["a"]


def test_without_autocommit_the_commit_publishes(place: Place) -> None:
    with place.fs.open(place.path("a"), "wb", autocommit=False) as file:
        file.write(b"a")
    assert place.there() == []
    file.commit()
    assert place.fs.cat_file(place.path("a")) == b"a"


def test_write_files_are_what_io_expects(place: Place) -> None:
    with place.fs.open(place.path("new"), "wb") as raw:
        assert isinstance(raw, io.IOBase)
        buffered = io.BufferedWriter(raw, 100)
        buffered.write(b"x" * 1000)
        buffered.flush()
        buffered.detach()
    assert place.fs.cat_file(place.path("new")) == b"x" * 1000
