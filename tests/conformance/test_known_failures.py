"""What goes wrong in a straightforward filesystem over OpenDAL: a group of tests for each failure seen."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import opendal
import pytest

import opendalfs
from opendalfs import ChangedError, OpendalFileSystem, OptionError
from opendalfs.services import Home
from opendalfs.testing import S3Server
from tests.conformance.targets import Place

MiB = 1 << 20


@pytest.fixture
def s3(s3_server: S3Server) -> opendalfs.S3FileSystem:
    """Give S3 with a listing cache of its own."""
    return opendalfs.filesystem("s3", skip_instance_cache=True, **s3_server.options)


# 1. Append


def test_append_keeps_what_was_there(place: Place) -> None:
    """The naive way passes ``append=True`` on, which OpenDAL's S3 takes and then replaces the object."""
    path = place.path("log")
    with place.fs.open(path, "wb") as file:
        file.write(b"hello ")
    with place.fs.open(path, "ab") as file:
        file.write(b"world")
    assert place.fs.cat_file(path) == b"hello world"


def test_append_to_what_is_missing_creates_it(place: Place) -> None:
    """The naive way reads the object first and fails."""
    with place.fs.open(place.path("log"), "ab") as file:
        file.write(b"first")
    assert place.fs.cat_file(place.path("log")) == b"first"


def test_opendal_appends_to_s3_by_replacing(s3_server: S3Server) -> None:
    """The reason for the two above; when this fails, OpenDAL has mended it."""
    operator = opendal.Operator(
        "s3",
        bucket=s3_server.bucket,
        endpoint=s3_server.endpoint,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
        region=s3_server.region,
    )
    key = f"append/{uuid4().hex}"
    operator.write(key, b"hello ")
    operator.write(key, b"world", append=True)
    assert operator.capability().write_can_append
    assert bytes(operator.read(key)) == b"world"


# 2. Another bucket


@pytest.mark.parametrize("url", ["opendal+s3://other/key", "opendals3://other/key", "s3://other/key"])
def test_a_bound_filesystem_refuses_another_bucket(s3_server: S3Server, url: str) -> None:
    """The naive way strips the protocol and writes ``other/key`` into its own bucket."""
    fs = OpendalFileSystem("s3", bucket=s3_server.bucket, **s3_server.options)
    calls: list[Callable[[], Any]] = [
        lambda: fs.pipe_file(url, b""),
        lambda: fs.cp_file(url, "copy"),
        lambda: fs.open(url, "wb"),
        lambda: fs.ls(url),
        lambda: fs.rm(url),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="not "):
            call()
    assert not fs.exists("other")


def test_a_bound_filesystem_takes_urls_of_its_own_bucket(s3_server: S3Server) -> None:
    """The naive way that refuses every URL breaks fsspec.open and every engine."""
    fs = OpendalFileSystem("s3", bucket=s3_server.bucket, root="bound", **s3_server.options)
    key = uuid4().hex
    fs.pipe_file(key, b"x")
    assert fs.unstrip_protocol(key) == f"opendal+s3://{s3_server.bucket}/bound/{key}"
    assert fs.cat_file(fs.unstrip_protocol(key)) == b"x"


def test_a_service_filesystem_refuses_a_bucket_option(s3_server: S3Server) -> None:
    """The naive way passes it on, and the path's first part becomes part of the key."""
    with pytest.raises(OptionError, match="first part of each path"):
        opendalfs.filesystem("s3", bucket=s3_server.bucket, **s3_server.options)


# 3. Missing directories


def test_ls_of_what_is_missing_raises_and_is_not_remembered(place: Place) -> None:
    """The naive way lists nothing, remembers that, and thinks the directory exists ever after."""
    place.require("list")
    path = place.path("missing")
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            place.fs.ls(path)
        assert not place.fs.exists(path)
        with pytest.raises(FileNotFoundError):
            place.fs.rm(path, recursive=True)


def test_a_listing_does_not_hold_the_directory_itself(place: Place) -> None:
    """The naive way hands OpenDAL's list on, in which a directory lists itself."""
    place.require("list")
    path = place.path("dir")
    place.fs.mkdir(path)
    place.fs.pipe_file(f"{path}/file", b"1")
    assert place.fs.ls(path, detail=False) == [f"{path}/file"]
    assert place.fs.find(path) == [f"{path}/file"]
    assert [top for top, _, _ in place.fs.walk(path)] == [path]


# 4. Half-written files


def write_half(place: Place, path: str, data: bytes) -> None:
    with place.fs.open(path, "wb") as file:
        file.write(data)
        raise RuntimeError("mid-way")


def transact_half(place: Place, paths: list[str]) -> None:
    with place.fs.transaction:
        for path in paths:
            with place.fs.open(path, "wb") as file:
                file.write(b"x")
        assert not place.fs.exists(paths[0])
        raise RuntimeError("mid-way")


def test_an_exception_while_writing_publishes_nothing(place: Place) -> None:
    """The naive way closes in ``__exit__`` whatever happened, which publishes the half."""
    path = place.path("file")
    with pytest.raises(RuntimeError, match="mid-way"):
        write_half(place, path, b"x" * 9 * MiB)
    assert not place.fs.exists(path, refresh=True)
    if place.can("list"):
        assert not place.fs.exists(place.root, refresh=True) or place.fs.find(place.root) == []


def test_an_exception_while_writing_keeps_what_was_there(place: Place) -> None:
    """The naive way replaces it by the half."""
    path = place.path("file")
    place.fs.pipe_file(path, b"old")
    with pytest.raises(RuntimeError, match="mid-way"):
        write_half(place, path, b"new")
    assert place.fs.cat_file(path) == b"old"


def test_a_transaction_that_fails_publishes_nothing(place: Place) -> None:
    """The naive way ignores ``autocommit=False`` and publishes each file as it closes."""
    paths = [place.path("one"), place.path("two")]
    with pytest.raises(RuntimeError, match="mid-way"):
        transact_half(place, paths)
    assert not any(place.fs.exists(path) for path in paths)


def test_a_transaction_that_succeeds_publishes_all(place: Place) -> None:
    """The naive way that ignores ``autocommit=False`` has published the first already."""
    paths = [place.path("one"), place.path("two")]
    with place.fs.transaction:
        for path in paths:
            with place.fs.open(path, "wb") as file:
                file.write(b"x")
        assert not place.fs.exists(paths[0])
    assert [place.fs.cat_file(path) for path in paths] == [b"x", b"x"]


# 5. Retries of what cannot succeed


@pytest.mark.parametrize("name", ["fs", "operator-fs"])
def test_local_errors_come_at_once(name: str, tmp_path: Path) -> None:
    """The naive way puts a RetryLayer over local files, too, and tries these again for half a minute."""
    fs: OpendalFileSystem
    if name == "fs":
        fs, root = opendalfs.filesystem("fs"), str(tmp_path)
    else:
        fs, root = OpendalFileSystem("fs", root=str(tmp_path)), "data"
    fs.pipe({f"{root}/dir/{i}/{j}": b"" for i in range(8) for j in range(8)})
    with opendalfs.trace() as trace:
        with pytest.raises(IsADirectoryError):
            fs.cat_file(f"{root}/dir")
        with pytest.raises(IsADirectoryError):
            fs.rm(f"{root}/dir")
        fs.rm(f"{root}/dir", recursive=True)
    assert not fs.exists(f"{root}/dir")
    # Retried, each would take the naive way's 31 s.
    assert max(record.end - record.start for record in trace.records) < 10


# 6. Two versions in one read


def test_a_file_that_changes_while_it_is_read_raises(place: Place) -> None:
    """The naive way reads on and gives bytes of both."""
    if not (place.target.etags or place.target.times):
        pytest.skip(f"the service {place.fs.service.scheme} tells nothing that differs between versions")
    if place.target.name == "gcs":
        pytest.skip("the emulator ignores If-Match")
    if place.fs.service.home is Home.REMOTE and not place.target.etags:
        pytest.skip(f"no etag of {place.target.name} pins a read")
    path = place.path("file")
    place.fs.pipe_file(path, b"a" * 100)
    with place.fs.open(path, "rb", cache_type="none") as file:
        assert file.read(10) == b"a" * 10
        place.fs.pipe_file(path, b"b" * 200)
        with pytest.raises(ChangedError, match="changed"):
            file.read(10)
    with place.fs.open(path, "rb") as file:
        assert file.read(10) == b"b" * 10


# 7. Past the end


def test_reads_past_the_end_are_cut(place: Place) -> None:
    """The naive way hands the range on, and OpenDAL raises where Python cuts."""
    path = place.path("file")
    place.fs.pipe_file(path, b"0123456789")
    assert place.fs.cat_file(path, 5, 100) == b"56789"
    assert place.fs.cat_file(path, 10, 100) == b""
    assert place.fs.cat_file(path, 50, 100) == b""
    assert place.fs.cat_ranges([path, path], [8, 90], [100, 100]) == [b"89", b""]
    with place.fs.open(path, "rb") as file:
        file.seek(50)
        assert file.read(10) == b""
    assert place.fs.head(path, 100) == b"0123456789"
    assert place.fs.tail(path, 100) == b"0123456789"


# 8. Errors


def test_a_missing_bucket_is_a_file_not_found(s3: opendalfs.S3FileSystem) -> None:
    """The naive way lets OpenDAL's ConfigInvalid through."""
    bucket = f"missing-{uuid4().hex}"
    calls: list[Callable[[], Any]] = [
        lambda: s3.ls(bucket),
        lambda: s3.cat_file(f"{bucket}/key"),
        lambda: s3.pipe_file(f"{bucket}/key", b""),
        lambda: s3.info(f"{bucket}/key"),
    ]
    for call in calls:
        with pytest.raises(FileNotFoundError):
            call()
    assert not s3.exists(bucket)
    assert not s3.exists(f"{bucket}/key")


def test_denied_access_is_a_permission_error(s3_server: S3Server) -> None:
    """The naive way lets OpenDAL's PermissionDenied through, which is no OSError."""
    fs = opendalfs.filesystem("s3", **{**s3_server.options, "secret": "wrong-secret"})
    with pytest.raises(PermissionError) as caught:
        fs.cat_file(f"{s3_server.bucket}/key")
    assert caught.value.errno is not None
    assert "wrong-secret" not in str(caught.value)


def test_moving_a_file_onto_itself_does_nothing(place: Place) -> None:
    """The naive way meets OpenDAL's IsSameFile, or copies and then deletes the only copy."""
    path = place.path("file")
    place.fs.pipe_file(path, b"x")
    place.fs.mv(path, path)
    place.fs.cp(path, path)
    assert place.fs.cat_file(path) == b"x"


def test_an_unknown_option_is_an_error() -> None:
    """The naive way passes it on, and OpenDAL ignores it and asks another server."""
    with pytest.raises(OptionError, match="endpoint"):
        opendalfs.filesystem("s3", endpoit="http://localhost:1")


# 9. Exclusive writes


def test_open_exclusive_fails_before_anything_is_written(place: Place) -> None:
    """The naive way finds out when the file is closed."""
    path = place.path("file")
    place.fs.pipe_file(path, b"first")
    with pytest.raises(FileExistsError):
        place.fs.open(path, "xb")
    assert place.fs.cat_file(path) == b"first"


def test_of_two_exclusive_writers_one_fails(place: Place) -> None:
    """The naive way asks first and writes then, so that both may succeed."""
    place.require("write_with_if_not_exists")
    path = place.path("file")
    published = []
    writers = [place.fs.open(path, "xb"), place.fs.open(path, "xb")]
    for i, writer in enumerate(writers):
        writer.write(b"%d" % i)
        try:
            writer.close()
        except FileExistsError:
            continue
        published.append(i)
    assert published == [0]
    assert place.fs.cat_file(path) == b"0"


@pytest.mark.parametrize("size", [3, 9 * MiB])
def test_put_file_creates_only_what_is_missing(place: Place, tmp_path: Path, size: int) -> None:
    """The naive way takes no notice of the mode for files that go up in parts."""
    local, path = tmp_path / "local", place.path("file")
    local.write_bytes(b"x" * size)
    place.fs.put_file(str(local), path, mode="create")
    assert place.fs.size(path) == size
    local.write_bytes(b"y" * size)
    with pytest.raises(FileExistsError):
        place.fs.put_file(str(local), path, mode="create")
    with pytest.raises(FileExistsError):
        place.fs.pipe_file(path, b"y" * size, mode="create")
    assert place.fs.cat_file(path, 0, 3) == b"xxx"
    assert place.fs.size(path) == size


# 10. Times, and patterns that start with a slash


def test_modified_gives_an_aware_time_or_says_that_there_is_none(place: Place) -> None:
    """The naive way gives None, on which DuckDB fails."""
    path = place.path("file")
    place.fs.pipe_file(path, b"x")
    if place.target.times:
        assert place.fs.modified(path).tzinfo is not None
        assert abs(place.fs.modified(path).timestamp() - time.time()) < 300
    else:
        with pytest.raises(NotImplementedError, match="times"):
            place.fs.modified(path)


def test_a_pattern_may_start_with_a_slash(place: Place) -> None:
    """The naive way compares the pattern with names that have none."""
    place.require("list")
    place.fs.pipe_file(place.path("a.txt"), b"1")
    assert place.fs.glob(f"/{place.root.lstrip('/')}/*") == [place.path("a.txt")]


# 11. Unreachable keys


def test_a_key_with_repeated_slashes_is_refused(s3: opendalfs.S3FileSystem, s3_server: S3Server) -> None:
    """The naive way hands it to OpenDAL, which reads and writes another key."""
    path = f"{s3_server.bucket}/{uuid4().hex}//b"
    with pytest.raises(ValueError, match="cannot be reached"):
        s3.pipe_file(path, b"")
    with pytest.raises(ValueError, match="cannot be reached"):
        s3.cat_file(path)
    with pytest.raises(ValueError, match="cannot be reached"):
        s3.rm(path, recursive=True)


# 12. Secrets


def test_secrets_show_only_where_they_must(s3_server: S3Server) -> None:
    """The naive way shows them in repr and in errors; pickles and to_json need them to connect again."""
    fs = opendalfs.filesystem("s3", **{**s3_server.options, "secret": "hush-hush", "token": "sesame"})
    assert "hush-hush" not in repr(fs)
    assert "sesame" not in repr(fs)
    with pytest.raises(PermissionError) as caught:
        fs.cat_file(f"{s3_server.bucket}/key")
    told = str(caught.value) + str(caught.value.__cause__) + repr(caught.value)
    assert "hush-hush" not in told
    assert "sesame" not in told
    again = pickle.loads(pickle.dumps(fs))
    assert again == fs
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()).native == fs.native
