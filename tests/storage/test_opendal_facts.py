"""What the opendal wheel does that this package is built around; a newer wheel that differs shows here.

Each test tells a fact, not a wish: where one fails, the code that works around it can perhaps go.
"""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opendal
import pytest
from opendal import exceptions
from opendal.layers import RetryLayer

from opendalfs.options import check
from opendalfs.services import lookup
from opendalfs.testing import Request, Response, S3Server, ScriptedServer

MiB = 1 << 20


@pytest.fixture
def s3(s3_server: S3Server, prefix: str) -> opendal.Operator:
    options, _ = check(lookup("s3"), s3_server.options, container=False)
    bucket, _, root = prefix.partition("/")
    return opendal.Operator("s3", bucket=bucket, root=root, **options)


@pytest.fixture
def disk(tmp_path: Path) -> opendal.Operator:
    return opendal.Operator("fs", root=str(tmp_path))


@pytest.fixture(params=["memory", "fs", "s3"])
def operator(request: pytest.FixtureRequest) -> Iterator[opendal.Operator]:
    names = {"fs": "disk", "s3": "s3"}
    if request.param == "memory":
        yield opendal.Operator("memory")
    else:
        yield request.getfixturevalue(names[request.param])


def listed(operator: opendal.Operator, path: str, **options: Any) -> list[str]:
    async def collect() -> list[str]:
        entries = await operator.to_async_operator().list(path, **options)
        return sorted([entry.path async for entry in entries])

    return asyncio.run(collect())


# Construction


def test_unknown_options_are_ignored() -> None:
    assert opendal.Operator("memory", no_such_option="x").capability().read


def test_a_constructor_takes_strings_only() -> None:
    with pytest.raises(TypeError):
        opendal.Operator("s3", bucket="b", region="r", enable_versioning=True)  # type: ignore[call-overload]


def test_koofr_takes_its_email_from_a_uri_alone() -> None:
    options = {"endpoint": "https://host", "email": "me@host", "password": "pw"}
    with pytest.raises(exceptions.ConfigInvalid, match="uri path must contain email"):
        opendal.Operator("koofr", **options)
    assert opendal.Operator.from_uri("koofr://host/me@host", password="pw").capability().read


def test_s3_refuses_to_start_without_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(exceptions.ConfigInvalid, match="region"):
        opendal.Operator("s3", bucket="b", endpoint="http://127.0.0.1:1", disable_config_load="true")


@pytest.mark.parametrize("scheme", ["gs", "s3a", "abfs", "abfss", "az", "r2"])
def test_native_schemes_of_other_libraries_are_unknown(scheme: str) -> None:
    with pytest.raises(exceptions.Unsupported):
        opendal.Operator(scheme)


def test_a_pickled_operator_holds_its_secrets_in_plain_text() -> None:
    operator = opendal.Operator("s3", bucket="b", region="r", secret_access_key="hush-hush")
    assert b"hush-hush" in pickle.dumps(operator)


def test_a_pickled_operator_loses_its_layers() -> None:
    plain = opendal.Operator("memory")
    assert pickle.dumps(plain) == pickle.dumps(plain.layer(RetryLayer()))


def test_every_memory_operator_has_a_store_of_its_own() -> None:
    one, two = opendal.Operator("memory"), opendal.Operator("memory")
    one.write("a", b"x")
    assert not two.exists("a")
    assert one.to_async_operator().to_operator().exists("a")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
@pytest.mark.parametrize(("ending", "threads"), [("", False), (".to_operator()", True)])
def test_only_a_blocking_operator_starts_threads(ending: str, threads: bool) -> None:
    code = (
        f"import os, opendal; operator = opendal.AsyncOperator('memory'){ending}; "
        "print(len(os.listdir('/proc/self/task')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 1) == threads


# Errors


def test_the_exceptions_share_no_base_but_exception() -> None:
    found = [c for c in vars(exceptions).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert len(found) == 14
    assert all(c.__bases__ == (Exception,) for c in found)


def test_a_missing_bucket_is_an_invalid_configuration(s3_server: S3Server) -> None:
    options, _ = check(lookup("s3"), s3_server.options, container=False)
    operator = opendal.Operator("s3", bucket="no-such-bucket", **options)
    with pytest.raises(exceptions.ConfigInvalid, match="NoSuchBucket"):
        operator.read("a")


def test_a_file_object_raises_a_bare_oserror(operator: opendal.Operator) -> None:
    with pytest.raises((OSError, exceptions.NotFound)) as info, operator.open("nothing", "rb") as file:
        file.read()
    assert type(info.value) is not FileNotFoundError


# Reading


def test_ranges_past_the_end_raise(operator: opendal.Operator) -> None:
    operator.write("a", b"0123456789")
    assert operator.read("a", offset=4, size=6) == b"456789"
    with pytest.raises((exceptions.RangeNotSatisfied, exceptions.Unexpected)):
        operator.read("a", offset=4, size=7)


def test_results_are_bytes(operator: opendal.Operator) -> None:
    operator.write("a", b"x")
    assert type(operator.read("a")) is bytes


def test_memory_and_disk_have_no_etags_and_memory_has_no_times(disk: opendal.Operator) -> None:
    memory = opendal.Operator("memory")
    for operator in (memory, disk):
        operator.write("a", b"x")
        assert operator.stat("a").etag is None
    assert memory.stat("a").last_modified is None
    when = disk.stat("a").last_modified
    assert when is not None
    assert when.tzinfo is not None


def test_a_read_of_another_etag_fails(s3: opendal.Operator) -> None:
    s3.write("a", b"one")
    etag = s3.stat("a").etag
    assert etag is not None
    assert s3.read("a", offset=0, size=3, if_match=etag) == b"one"
    s3.write("a", b"two")
    with pytest.raises(exceptions.ConditionNotMatch):
        s3.read("a", offset=0, size=3, if_match=etag)


# Writing


def test_s3s_append_flag_replaces_the_object(s3: opendal.Operator) -> None:
    assert s3.capability().write_can_append
    s3.write("log", b"hello ")
    s3.write("log", b"world", append=True)
    assert s3.read("log") == b"world"


def test_a_disks_append_flag_appends(disk: opendal.Operator) -> None:
    disk.write("log", b"hello ")
    disk.write("log", b"world", append=True)
    assert disk.read("log") == b"hello world"


def test_a_writers_block_that_fails_publishes(operator: opendal.Operator) -> None:
    def fail() -> None:
        with operator.open("partial", "wb") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert operator.read("partial") == b"half"


def test_a_dropped_writer_publishes_nothing_in_an_object_store(s3: opendal.Operator) -> None:
    file = s3.open("dropped", "wb")
    file.write(b"x" * 6 * MiB)
    del file
    assert not s3.exists("dropped")


def test_an_unfinished_file_is_visible_on_a_disk(disk: opendal.Operator, tmp_path: Path) -> None:
    with disk.open("partial", "wb") as file:
        file.write(b"x" * MiB)
        file.write(b"x" * MiB)
        assert 0 < (tmp_path / "partial").stat().st_size < 2 * MiB


@pytest.mark.parametrize("count", [2, 3])
def test_without_chunk_each_write_is_a_part(s3: opendal.Operator, count: int) -> None:
    with s3.open("parts", "wb") as file:
        for _ in range(count):
            file.write(b"x" * 5 * MiB)
    etag = s3.stat("parts").etag
    assert etag is not None
    assert etag.strip('"').endswith(f"-{count}")


def test_if_not_exists_is_kept_for_one_put_and_for_parts(s3: opendal.Operator) -> None:
    s3.write("a", b"first")
    for options in ({}, {"chunk": 5 * MiB}):
        with pytest.raises(exceptions.ConditionNotMatch):
            s3.write("a", b"x" * 6 * MiB, if_not_exists=True, **options)
    assert s3.read("a") == b"first"


# Listing and deleting


def test_a_path_without_a_slash_lists_by_prefix(operator: opendal.Operator) -> None:
    for path in ("p/e/1", "p/exc"):
        operator.write(path, b"x")
    assert {"p/e/", "p/exc"} <= set(listed(operator, "p/e"))
    assert [path for path in listed(operator, "p/e/") if path != "p/e/"] == ["p/e/1"]


def test_a_missing_directory_lists_empty(operator: opendal.Operator) -> None:
    assert listed(operator, "nothing/") == []


def test_the_limit_of_a_list_is_the_size_of_its_pages(s3: opendal.Operator) -> None:
    for i in range(5):
        s3.write(f"d/{i}", b"x")
    assert len([path for path in listed(s3, "d/", limit=2) if path != "d/"]) == 5


@pytest.mark.parametrize(("store", "sibling_stays"), [("memory", False), ("s3", False), ("disk", True)])
def test_removing_a_prefix_takes_its_siblings_along_but_on_a_disk(
    request: pytest.FixtureRequest, store: str, sibling_stays: bool
) -> None:
    operator = opendal.Operator("memory") if store == "memory" else request.getfixturevalue(store)
    for path in ("a/b/1", "a/bc"):
        operator.write(path, b"x")
    operator.remove_all("a/b")
    assert not operator.exists("a/b/1")
    assert operator.exists("a/bc") == sibling_stays


def test_removing_a_prefix_with_a_slash_does_not(operator: opendal.Operator) -> None:
    for path in ("a/b/1", "a/bc"):
        operator.write(path, b"x")
    operator.remove_all("a/b/")
    assert operator.exists("a/bc")
    assert not operator.exists("a/b/1")


def test_deleting_what_is_missing_is_no_error(operator: opendal.Operator) -> None:
    operator.delete("nothing")


def test_a_directory_is_found_with_a_slash_only(s3: opendal.Operator) -> None:
    s3.write("d/a", b"x")
    assert s3.stat("d/").is_dir


@pytest.mark.parametrize(("scheme", "container"), [("azdls", "filesystem"), ("azfile", "share_name")])
def test_azdls_and_azfile_empty_a_file_before_they_write_it(scheme: str, container: str) -> None:
    """So a reader, or a writer that dies in between, finds an empty file: docs/promises.md says so."""

    def respond(request: Request) -> Response:
        return Response(202 if request.method == "PATCH" else 404 if request.method == "HEAD" else 201)

    with ScriptedServer(respond) as server:
        options = {"account_name": "a", "account_key": "eA==", container: "c", "endpoint": server.endpoint}
        opendal.Operator(scheme, **options).write("key", b"content")
        of_key = [r for r in server.requests if r.target.partition("?")[0] == "/c/key"]
    assert [r.method for r in of_key[:2]] == ["PUT", "PATCH" if scheme == "azdls" else "PUT"]
    assert [r.body for r in of_key[:2]] == [b"", b"content"]


# Paths


@pytest.mark.parametrize("path", [" a", "a ", "/a", "//a", "\ta\n"])
def test_outer_slashes_and_white_space_are_dropped(operator: opendal.Operator, path: str) -> None:
    operator.write(path, b"x")
    assert [p for p in listed(operator, "/") if p != "/"] == ["a"]


def test_repeated_slashes_collapse(operator: opendal.Operator) -> None:
    operator.write("d//a", b"x")
    assert operator.read("d/a") == b"x"
