"""A whole container, or what `..` leads to, is never removed by accident."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs import OpendalFileSystem, OptionError
from opendalfs.fs.removal import check_removal
from opendalfs.testing import Fault, FaultProxy, Moto, S3Server

Opened = tuple[OpendalFileSystem, str]
"""A filesystem and its root, as a path prefix: empty, or `container/`."""


def _memory(lookup: Callable[[str], Any], tmp: Path) -> Opened:
    # Its content is the process's own, so these tests have it to themselves under a root.
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}", skip_instance_cache=True), ""


def _disk(lookup: Callable[[str], Any], tmp: Path) -> Opened:
    return OpendalFileSystem("fs", root=str(tmp / "disk"), skip_instance_cache=True), ""


def _bucket(lookup: Callable[[str], Any], tmp: Path) -> Opened:
    server: Moto = lookup("moto_server")
    bucket = f"removal-{uuid4().hex[:12]}"
    server.make_bucket(bucket)
    return opendalfs.filesystem("s3", skip_instance_cache=True, **server.options), f"{bucket}/"


def _bound_bucket(lookup: Callable[[str], Any], tmp: Path) -> Opened:
    server: Moto = lookup("moto_server")
    options = {**server.options, "bucket": server.bucket, "root": f"/removal/{uuid4().hex}"}
    return OpendalFileSystem("s3", skip_instance_cache=True, **options), ""


@pytest.fixture(params=[_memory, _disk, _bucket, _bound_bucket], ids=["memory", "disk", "bucket", "bound"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    fs, root = request.param(request.getfixturevalue, tmp_path)
    fs.pipe({f"{root}a": b"1", f"{root}d/b": b"2", f"{root}d/e/c": b"3"})
    return fs, root


@pytest.mark.parametrize("options", [{}, {"maxdepth": 1}], ids=str)
def test_a_whole_container_is_not_removed(filled: Opened, options: dict[str, int]) -> None:
    fs, root = filled
    before = fs.find(root)
    bare = root.rstrip("/")
    paths = [bare, f"{bare}/", f"{bare}//", f"{bare}/*", *(root + end for end in ("*", "**", "**/*", "*/*"))]
    for path in paths:
        for asked in (path, [f"{root}a", path]):
            with pytest.raises(PermissionError, match=r"pass its entries: fs\.ls"):
                fs.rm(asked, recursive=True, **options)
    assert fs.find(root, refresh=True) == before


def test_a_pattern_of_everything_is_refused_for_files_alone_too(filled: Opened) -> None:
    fs, root = filled
    before = fs.find(root)
    for pattern in ("*", "**"):
        with pytest.raises(PermissionError, match="whole container"):
            fs.rm(root + pattern)
    assert fs.find(root, refresh=True) == before


def test_a_container_is_emptied_by_naming_its_entries(filled: Opened) -> None:
    fs, root = filled
    fs.rm(fs.ls(root, detail=False), recursive=True)
    assert fs.find(root, refresh=True) == []


def test_a_pattern_below_a_container_removes_what_it_matches(filled: Opened) -> None:
    fs, root = filled
    fs.rm(f"{root}d/*", recursive=True)
    fs.rm(f"{root}[a]")
    assert fs.find(root, refresh=True) == []


def test_a_whole_container_is_neither_moved_nor_removed_as_a_directory(filled: Opened) -> None:
    fs, root = filled
    before = fs.find(root)
    for ending in ("", "/", "//"):
        path = root.rstrip("/") + ending
        for source, target in ((path, f"{root}moved"), ([path], [f"{root}moved"])):
            with pytest.raises(PermissionError, match=r"pass its entries: fs\.ls"):
                fs.mv(source, target, recursive=True)
        with pytest.raises(OSError, match="cannot remove"):
            fs.rmdir(path)
    assert fs.find(root, refresh=True) == before


def test_a_path_that_ends_in_dots_is_not_removed(filled: Opened) -> None:
    fs, root = filled
    before = fs.find(root)
    for ending in ("..", "d/..", "d/../", "d/e/../..", "."):
        with pytest.raises((PermissionError, ValueError), match=r"'\.\.?'"):
            fs.rm(root + ending, recursive=True)
        with pytest.raises((PermissionError, ValueError), match=r"'\.\.?'"):
            fs.mv(root + ending, f"{root}moved", recursive=True)
    assert fs.find(root, refresh=True) == before


def test_dots_are_refused_on_a_disk_that_would_resolve_them(tmp_path: Path) -> None:
    fs = opendalfs.filesystem("fs")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "file").write_bytes(b"1")
    for path in (f"{tmp_path}/outer/inner/..", f"{tmp_path}/outer/.", f"{tmp_path}/outer/inner/../"):
        with pytest.raises(PermissionError, match=r"ends in '\.' or '\.\.'"):
            fs.rm(path, recursive=True)
    assert (tmp_path / "outer" / "file").exists()


def test_links_that_lead_back_to_the_root_are_seen_through(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"1")
    (root / "up").symlink_to(tmp_path)
    fs = OpendalFileSystem("fs", root=str(root), skip_instance_cache=True)
    with pytest.raises(PermissionError, match="whole container"):
        fs.rm("up/root", recursive=True)
    assert (root / "file").exists()
    fs.rm("up", recursive=True)
    assert not (root / "up").exists()
    assert (root / "file").exists()


@pytest.mark.parametrize("root", ["/", "//", "/.", "link"])
def test_the_root_of_the_disk_is_refused_by_whatever_name(root: str, tmp_path: Path) -> None:
    # The check alone: a test of the removal itself would cost a machine the day it fails.
    (tmp_path / "link").symlink_to("/")
    fs = OpendalFileSystem("fs", root=str(tmp_path / root) if root == "link" else root)
    with pytest.raises(PermissionError, match="the root of the disk"):
        check_removal(fs, "", recursive=True)


@pytest.mark.parametrize("path", ["/", "//", "", "/*", "/**"])
def test_the_root_of_a_filesystem_of_local_paths_is_refused(path: str) -> None:
    fs = opendalfs.filesystem("fs")
    with pytest.raises(PermissionError, match="the root of the disk"):
        check_removal(fs, path, recursive=True)


@pytest.mark.parametrize(
    "wrap", [lambda path: path, lambda path: [path], lambda path: (one for one in [path])]
)
def test_paths_of_pathlib_are_removed(wrap: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"1")
    fs = opendalfs.filesystem("fs")
    fs.rm(wrap(tmp_path / "d" / "file"))
    assert not (tmp_path / "d" / "file").exists()
    fs.rm(wrap(tmp_path / "d"), recursive=True)
    assert not (tmp_path / "d").exists()


def test_paths_of_pathlib_are_moved_with_all_below(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"1")
    opendalfs.filesystem("fs").mv(tmp_path / "d", tmp_path / "e", recursive=True)
    assert (tmp_path / "e" / "file").exists()


def test_a_bulk_delete_that_fails_with_status_200_is_repeated_and_then_an_error(
    s3_server: S3Server, prefix: str
) -> None:
    with FaultProxy(s3_server.endpoint) as proxy:
        fs = opendalfs.S3FileSystem(skip_instance_cache=True, **proxy.through(s3_server.options))
        for times in (1, None):
            fs.pipe({f"{prefix}/d/{number}": b"x" for number in range(3)})
            proxy.inject(Fault("delete-many", "error-200", times=times))
            if times is None:
                with pytest.raises(OSError, match="objects are left"):
                    fs.rm(f"{prefix}/d", recursive=True)
            else:
                fs.rm(f"{prefix}/d", recursive=True)
            fs.invalidate_cache()
            assert len(fs.find(f"{prefix}/d")) == (3 if times is None else 0)


@pytest.mark.parametrize("options", [{"version_id": "1"}, {"recursiv": True}], ids=str)
async def test_a_removal_takes_no_other_options(options: dict[str, Any]) -> None:
    """An ignored version would remove the newest one instead."""
    fs: Any = opendalfs.filesystem("memory", skip_instance_cache=True)
    folder = uuid4().hex
    fs.pipe_file(f"{folder}/a", b"x")
    for remove in (fs.rm, fs.rm_file):
        with pytest.raises(OptionError, match=f"a removal takes no {next(iter(options))}: leave it out"):
            remove(f"{folder}/a", **options)
    with pytest.raises(OptionError, match="a removal takes no"):
        await fs._rm_file(f"{folder}/a", **options)
    assert fs.find(folder) == [f"{folder}/a"]
