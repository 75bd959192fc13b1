"""Code written for s3fs gets the same results, compared with s3fs on the same server."""

from __future__ import annotations

import inspect
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import s3fs

import opendalfs
from opendalfs import ChangedError, OptionError, UnsupportedError
from opendalfs.fs.services import S3FileSystem
from opendalfs.testing import S3Server
from tests.versions import since

TREE = {
    "a/1.txt": b"1",
    "a/2.txt": b"22",
    "a/d/e/f.txt": b"f",
    "ab/3.txt": b"333",
    "both": b"file",
    "both/in.txt": b"in",
    "top.txt": b"t",
}


@pytest.fixture
def fs(s3_server: S3Server) -> S3FileSystem:
    return S3FileSystem(**s3_server.options, skip_instance_cache=True)


@pytest.fixture(scope="module")
def peer(s3_server: S3Server) -> Any:
    return s3fs.S3FileSystem(**s3_server.options, skip_instance_cache=True, use_listings_cache=False)


@pytest.fixture
def tree(fs: S3FileSystem, prefix: str) -> str:
    # One after the other: SeaweedFS may lose an object that becomes a directory as it is written.
    for name, data in TREE.items():
        fs.pipe_file(f"{prefix}/{name}", data)
    return prefix


# find


def test_find_takes_no_prefix_for_none(fs: S3FileSystem, peer: Any, tree: str) -> None:
    assert fs.find(tree, prefix=None) == peer.find(tree, prefix=None) == fs.find(tree)


FOUND: list[tuple[str, int | None, list[str]]] = [
    ("a", 1, ["a", "ab"]),
    ("a", 2, ["a", "a/1.txt", "a/2.txt", "a/d", "ab", "ab/3.txt"]),
    ("a/", None, ["a", "a/1.txt", "a/2.txt", "a/d", "a/d/e", "a/d/e/f.txt"]),
    ("a/d", None, ["a/d", "a/d/e", "a/d/e/f.txt"]),
    ("a/d", 2, ["a/d"]),
    ("a/d", 1, []),
    ("t", None, ["top.txt"]),
    ("zzz", None, []),
    ("", 1, ["", "a", "ab", "both", "top.txt"]),
]


@pytest.mark.parametrize("service", ["s3", "memory", "webdav"])
def test_find_with_a_prefix_and_directories_shows_only_what_starts_so(
    service: str, s3_server: S3Server, peer: Any, prefix: str
) -> None:
    # WebDAV lists no tree at once, so a level at a time is tried too.
    options = {"s3": s3_server.options, "memory": {}, "webdav": {"endpoint": s3_server.webdav_endpoint}}
    fs = opendalfs.filesystem(service, **options[service], skip_instance_cache=True)
    fs.pipe({f"{prefix}/{name}": data for name, data in TREE.items() if name != "both"})
    for start, maxdepth, expected in FOUND:
        found = fs.find(prefix, prefix=start, maxdepth=maxdepth, withdirs=True)
        assert found == [f"{prefix}/{name}".rstrip("/") for name in expected], start
        files = [name for name in found if name.endswith(".txt")]
        assert fs.find(prefix, prefix=start, maxdepth=maxdepth) == files
        if service == "s3" and maxdepth is None:
            # The directories that s3fs shows are those it has met, the one that is listed among them.
            assert files == peer.find(prefix, prefix=start)
    if service == "webdav":
        fs.rm(prefix, recursive=True)


# isfile, isdir, exists


@pytest.mark.parametrize("path", ["", "/", "opendal+s3://"])
def test_the_root_of_all_buckets_is_a_directory_and_no_file(fs: S3FileSystem, peer: Any, path: str) -> None:
    assert fs.isfile(path) is peer.isfile("") is False
    assert fs.isdir(path) is peer.isdir("") is True
    assert fs.exists(path) is peer.exists("") is True


# open(size=)


def test_open_with_a_size_asks_for_nothing_but_the_bytes(fs: S3FileSystem, tree: str) -> None:
    with opendalfs.trace() as trace, fs.open(f"{tree}/a/2.txt", size=2) as file:
        assert file.size == 2
        assert file.read() == b"22"
    assert [record.operation for record in trace.records] == ["read"]


@pytest.mark.parametrize("listed", [False, True])
def test_open_with_a_size_reads_no_more_than_that(
    fs: S3FileSystem, peer: Any, tree: str, listed: bool
) -> None:
    if listed:
        fs.ls(f"{tree}/a")
    with fs.open(f"{tree}/a/2.txt", size=1) as file:
        assert file.read() == peer.open(f"{tree}/a/2.txt", size=1).read() == b"2"
        assert file.seek(0, 2) == 1
        assert file.read_at(0, 10) == b"2"


def test_open_with_a_size_is_pinned_to_the_version_that_a_listing_shows(
    fs: S3FileSystem, s3_server: S3Server, tree: str
) -> None:
    fs.ls(f"{tree}/a")
    bucket, _, key = f"{tree}/a/2.txt".partition("/")
    s3_server.client.put_object(Bucket=bucket, Key=key, Body=b"xx")
    with fs.open(f"{tree}/a/2.txt", size=2) as file, pytest.raises(ChangedError):
        file.read()


def test_open_with_a_size_beyond_the_end_is_an_error(fs: S3FileSystem, tree: str) -> None:
    with fs.open(f"{tree}/a/2.txt", size=5) as file, pytest.raises(ChangedError):
        file.read()
    memory = opendalfs.filesystem("memory")
    memory.pipe_file("size/short", b"22")
    with pytest.raises(ChangedError, match="has 2 bytes, not size=5"):
        memory.open("size/short", size=5)
    with memory.open("size/short", size=1) as file:
        assert file.read() == b"2"


def test_a_size_that_cannot_be_honoured_is_refused(fs: S3FileSystem, tree: str) -> None:
    with pytest.raises(ValueError, match="0 bytes or more"):
        fs.open(f"{tree}/a/2.txt", size=-1)
    with pytest.raises(OptionError, match="'size'"):
        fs.open(f"{tree}/a/new", "wb", size=1)


async def test_open_async_refuses_a_size(fs: S3FileSystem, tree: str) -> None:
    with pytest.raises(ValueError, match="does not support size="):
        await fs.open_async(f"{tree}/a/2.txt", size=1)


# rm


def test_rm_returns_the_removed_paths(fs: S3FileSystem, tree: str) -> None:
    assert fs.rm(f"{tree}/top.txt") == [f"{tree}/top.txt"]
    assert sorted(fs.rm([f"{tree}/ab/3.txt", f"{tree}/a/1.txt"])) == [f"{tree}/a/1.txt", f"{tree}/ab/3.txt"]
    assert fs.rm(f"{tree}/a/*.txt") == [f"{tree}/a/2.txt"]
    assert fs.rm(f"{tree}/both", recursive=True) == [f"{tree}/both"]
    assert fs.rm_file(f"{tree}/a/d/e/f.txt") is None


def test_rm_of_limited_depth_returns_what_it_removed_and_not_what_it_left(tmp_path: Path) -> None:
    local = opendalfs.filesystem("fs")
    local.pipe({f"{tmp_path}/t/1": b"", f"{tmp_path}/t/deep/er/2": b""})
    assert local.rm(f"{tmp_path}/t", recursive=True, maxdepth=1) == [f"{tmp_path}/t/1"]
    assert local.find(str(tmp_path)) == [f"{tmp_path}/t/deep/er/2"]


# url


def test_url_is_a_signed_url_that_anybody_can_get(fs: S3FileSystem, peer: Any, tree: str) -> None:
    path = f"{tree}/a/2.txt"
    for url in (fs.url(path), fs.url(path, expires=60), peer.url(path)):
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"22"
    assert "X-Amz-Expires=60&" in fs.url(path, expires=60)
    assert "X-Amz-Expires=3600&" in fs.url(path)
    # s3fs's own reads (self, **kwargs).
    theirs = inspect.signature(s3fs.S3FileSystem._url).parameters
    ours = inspect.signature(S3FileSystem._url).parameters
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_url_refuses_what_it_does_not_sign(fs: S3FileSystem, tree: str) -> None:
    with pytest.raises(UnsupportedError, match="'copy_object'"):
        fs.url(f"{tree}/new", client_method="copy_object")
    with pytest.raises(OptionError, match="ResponseContentType"):
        fs.url(f"{tree}/top.txt", ResponseContentType="text/plain")
    with pytest.raises(IsADirectoryError, match="without a key"):
        # It would be one to list the bucket by.
        fs.url(tree.partition("/")[0])
    with pytest.raises(UnsupportedError, match="sign URLs"):
        opendalfs.filesystem("memory").url("key")


# modified


def test_the_time_of_a_directory_raises_and_names_the_reason(fs: S3FileSystem, peer: Any, tree: str) -> None:
    for path in (f"{tree}/a", tree.partition("/")[0]):
        with pytest.raises(IsADirectoryError):
            peer.modified(path)
        with pytest.raises(IsADirectoryError, match="only files have a time"):
            fs.modified(path)
    with pytest.raises(FileNotFoundError):
        fs.modified(f"{tree}/missing")
    assert fs.modified(f"{tree}/top.txt", refresh=True) == peer.modified(f"{tree}/top.txt", refresh=True)
    assert isinstance(fs.modified(f"{tree}/top.txt"), datetime)


# get


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_get_takes_an_object_that_is_a_prefix_too_for_the_file_it_is(
    fs: S3FileSystem, tree: str, tmp_path: Path
) -> None:
    fs.get(f"{tree}/both", str(tmp_path / "new"))
    fs.get(f"{tree}/*", f"{tmp_path}/glob/")
    expected = {"new": b"file", "glob/both": b"file", "glob/top.txt": b"t"}
    assert files_below(tmp_path) == expected


def test_get_of_one_file_asks_for_its_size_and_its_bytes_and_for_nothing_else(
    fs: S3FileSystem, tree: str, tmp_path: Path
) -> None:
    with opendalfs.trace() as trace:
        fs.get(f"{tree}/a/2.txt", str(tmp_path / "file"))
    assert [record.operation for record in trace.records] == ["stat", "read"]
    with opendalfs.trace() as trace:
        fs.get(f"{tree}/a", str(tmp_path / "folder"))
    assert "read" not in [record.operation for record in trace.records]
    assert files_below(tmp_path) == {"file": b"22"}


@pytest.mark.parametrize("path", ["", "/*", "/b*"])
def test_get_of_a_tree_refuses_an_object_that_is_a_prefix_too_before_it_downloads_anything(
    fs: S3FileSystem, tree: str, path: str, tmp_path: Path
) -> None:
    with pytest.raises(IsADirectoryError, match=r"Is both an object and a directory.*get_file.*both'"):
        fs.get(tree + path, str(tmp_path / "out"), recursive=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", ["", "/*"])
def test_get_of_a_tree_takes_an_empty_object_that_is_a_prefix_too_for_the_directory(
    path: str, tmp_path: Path
) -> None:
    # SeaweedFS does not keep an empty object where there is a directory.
    memory = opendalfs.filesystem("memory")
    memory.pipe({f"get-marker/{name}": data for name, data in TREE.items()} | {"get-marker/both": b""})
    memory.get(f"get-marker{path}", str(tmp_path / "out"), recursive=True)
    assert files_below(tmp_path / "out") == {name: data for name, data in TREE.items() if name != "both"}


def test_get_of_a_tree_takes_the_named_path_for_a_directory_as_s3fs_does(
    fs: S3FileSystem, peer: Any, tree: str, tmp_path: Path
) -> None:
    for name, one in (("ours", fs), ("theirs", peer)):
        one.get(f"{tree}/both", str(tmp_path / name), recursive=True)
        assert files_below(tmp_path / name) == {"in.txt": b"in"}


def test_cp_of_a_glob_takes_along_what_lies_below_an_object(fs: S3FileSystem, tree: str) -> None:
    # One after the other, as in `tree`.
    fs.cp(f"{tree}/*", f"{tree}/copy/", recursive=True, batch_size=1)
    assert fs.find(f"{tree}/copy") == [f"{tree}/copy/{name}" for name in TREE]


# ls

BEFORE: dict[str, Callable[[Any, str], Any]] = {
    "ls": lambda fs, root: fs.ls(root),
    "find": lambda fs, root: fs.find(root),
    "find with directories": lambda fs, root: fs.find(root, withdirs=True, detail=True),
    "find from above": lambda fs, root: fs.find(root.rpartition("/")[0]),
    "find of two levels": lambda fs, root: fs.find(root, maxdepth=2, withdirs=True),
    "walk": lambda fs, root: list(fs.walk(root)),
    "glob": lambda fs, root: fs.glob(f"{root}/**", detail=True),
    "info": lambda fs, root: [fs.info(f"{root}/{name}") for name in ("top.txt", "a", "both")],
    "isfile": lambda fs, root: [fs.isfile(f"{root}/{name}") for name in ("top.txt", "a", "both")],
    "mkdir": lambda fs, root: fs.makedirs(f"{root}/a", exist_ok=True),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("service", ["s3", "memory", "fs"])
def test_ls_has_one_shape_whatever_ran_before(
    service: str, before: str, s3_server: S3Server, prefix: str, tmp_path: Path
) -> None:
    def make() -> Any:
        options = s3_server.options if service == "s3" else {}
        return opendalfs.filesystem(service, **options, use_listings_cache=True, skip_instance_cache=True)

    root = str(tmp_path / "tree") if service == "fs" else prefix
    make().pipe({f"{root}/{name}": data for name, data in TREE.items() if service != "fs" or name != "both"})
    for name in ("", "/a", "/a/d", "/both", "/top.txt"):
        cold, warm = make(), make()
        BEFORE[before](warm, root)
        assert warm.ls(root + name) == cold.ls(root + name), name
        assert warm.ls(root + name, detail=False) == cold.ls(root + name, detail=False)


@since("s3fs", "2026", "2025 lists no file that has the name of a directory")
def test_ls_lists_a_file_before_the_directory_of_the_same_name_and_with_the_keys_of_s3fs(
    fs: S3FileSystem, peer: Any, tree: str
) -> None:
    ours, theirs = fs.ls(tree), peer.ls(tree, detail=True)
    assert [(i["name"], i["type"], i["size"]) for i in ours] == [
        (i["name"], i["type"], i["size"]) for i in theirs
    ]
    for one, other in zip(ours, theirs, strict=True):
        if one["type"] == "directory":
            assert one == other
        else:
            assert {key: other[key] for key in ("Key", "Size", "ETag", "LastModified")}.items() <= one.items()
    assert fs.ls(f"{tree}/a", detail=False) == peer.ls(f"{tree}/a", detail=False)
    assert [i["name"] for i in fs.ls(f"{tree}/top.txt")] == peer.ls(f"{tree}/top.txt")


# register

REGISTERED = """
import fsspec, opendalfs
from opendalfs.fs.services import AzblobFileSystem, S3FileSystem
fs = opendalfs.filesystem("s3", region="us-east-1")
assert "s3" not in fs.protocol
opendalfs.register("s3", "az")
opendalfs.register("s3")
assert fs.protocol == S3FileSystem.protocol == ("opendal+s3", "opendals3", "s3")
assert AzblobFileSystem.protocol[-1] == "az"
same, path = fsspec.url_to_fs("s3://bucket/key", region="us-east-1")
assert (type(same), path) == (S3FileSystem, "bucket/key")
assert same.unstrip_protocol(path) == "opendal+s3://bucket/key"
assert fsspec.get_fs_token_paths("s3://b/k", storage_options={"region": "us-east-1"})[2] == ["b/k"]
"""


def test_a_registered_scheme_is_one_of_the_protocols() -> None:
    subprocess.run([sys.executable, "-c", REGISTERED], check=True, timeout=60)
