"""Moves and removals change the link; writes and downloads change its target."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fsspec.implementations.local import LocalFileSystem

import opendalfs
from opendalfs import FsFileSystem, OpendalFileSystem, UnsupportedError
from tests.storage.links.trees import LINKS, WHOLE, below

# Moves and removals


@pytest.mark.parametrize("folder", ["", "/"])
def test_mv_of_a_tree_takes_its_links_as_they_are(
    fs: FsFileSystem, tree: Path, tmp_path: Path, folder: str
) -> None:
    with opendalfs.trace() as trace:
        fs.mv(str(tree) + folder, str(tmp_path / "new"), recursive=True)
    assert trace.count("rename") == 1
    assert trace.count("copy") == trace.count("delete") == 0
    assert not tree.exists()
    assert {name: os.readlink(tmp_path / "new" / name) for name in LINKS} == LINKS
    assert below(tmp_path / "out") == {"f", "s", "s/g"}


def test_mv_of_a_tree_goes_into_a_directory_that_is_there(
    fs: FsFileSystem, tree: Path, tmp_path: Path
) -> None:
    fs.mv(str(tree), str(tmp_path / "empty"), recursive=True)
    assert (tmp_path / "empty/t/d/e/c").read_bytes() == b"333"
    assert (tmp_path / "empty/t/gone").is_symlink()
    assert not tree.exists()


def test_mv_of_a_tree_joins_one_that_is_there(fs: FsFileSystem, tree: Path, tmp_path: Path) -> None:
    fs.pipe_file(f"{tmp_path}/new/t/other", b"6")
    (tree / "gone").unlink()
    fs.mv(str(tree), str(tmp_path / "new"), recursive=True)
    assert WHOLE | {"other"} <= below(tmp_path / "new/t") | {
        "ldout",
        "ldout/f",
        "ldout/s",
        "ldout/s/g",
        "lout",
    }
    assert os.readlink(tmp_path / "new/t/ldout") == "../out"
    assert not tree.exists()
    assert below(tmp_path / "out") == {"f", "s", "s/g"}


def test_mv_of_a_tree_into_itself_is_refused(fs: FsFileSystem, tree: Path) -> None:
    with pytest.raises(OSError, match="into itself"):
        fs.mv(str(tree), f"{tree}/d/new", recursive=True)
    assert (tree / "a").exists()


@pytest.mark.parametrize("name", ["ldout", "lf", "gone"])
@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("named", ["alone", "in a list", "by a pattern"])
def test_mv_of_a_link_moves_the_link(
    fs: FsFileSystem, tree: Path, tmp_path: Path, name: str, recursive: bool, named: str
) -> None:
    path: Any = str(tree / name)
    if named == "in a list":
        path = [path]
    elif named == "by a pattern" and name == "lf":
        path = path[:-1] + "?"
    elif named == "by a pattern":
        # As everywhere, a pattern finds directories for recursive moves only, and no link to nothing.
        path, name, recursive = str(tree / "ldou?"), "ldout", True
    fs.mv(path, f"{tmp_path}/empty/", recursive=recursive)
    assert os.readlink(tmp_path / "empty" / name) == LINKS[name]
    assert not os.path.lexists(tree / name)
    assert below(tmp_path / "out") == {"f", "s", "s/g"}


@pytest.mark.parametrize("name", ["ldout", "lf", "gone"])
@pytest.mark.parametrize("options", [{}, {"recursive": True}, {"recursive": True, "maxdepth": 3}])
def test_rm_of_a_link_removes_the_link(
    fs: FsFileSystem, tree: Path, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    fs.rm(str(tree / name), **options)
    assert not os.path.lexists(tree / name)
    assert (tree / "a").exists()
    assert below(tmp_path / "out") == {"f", "s", "s/g"}


@pytest.mark.parametrize("options", [{}, {"maxdepth": 5}])
def test_rm_of_a_tree_leaves_what_its_links_lead_to(
    fs: FsFileSystem, tree: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    if options:
        # No listing tells of it, so that it would keep its directory.
        (tree / "gone").unlink()
    fs.rm(str(tree), recursive=True, **options)
    assert not tree.exists()
    assert below(tmp_path / "out") == {"f", "s", "s/g"}
    assert (tmp_path / "empty").is_dir()


# Across disks


@pytest.fixture
def elsewhere(tmp_path: Path) -> Any:
    """Yield a directory on another disk than that of tmp_path."""
    place = Path("/dev/shm") / uuid4().hex
    if not place.parent.is_dir() or place.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk")
    place.mkdir()
    yield place
    LocalFileSystem().rm(str(place), recursive=True)


def test_mv_to_another_disk_takes_a_file(fs: FsFileSystem, tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    fs.mv(f"{tmp_path}/a", f"{elsewhere}/a")
    assert (elsewhere / "a").read_bytes() == b"1"
    assert not (tmp_path / "a").exists()


def test_mv_to_another_disk_takes_a_tree_with_its_links(
    fs: FsFileSystem, tree: Path, tmp_path: Path, elsewhere: Path
) -> None:
    (tree / "gone").unlink()
    fs.mv(str(tree), f"{elsewhere}/t", recursive=True)
    assert (elsewhere / "t/d/e/c").read_bytes() == b"333"
    assert os.readlink(elsewhere / "t/ldout") == "../out"
    assert not tree.exists()
    assert below(tmp_path / "out") == {"f", "s", "s/g"}


# Writes


def _opened(fs: OpendalFileSystem, path: str, tmp: Path) -> None:
    with fs.open(path, "wb") as file:
        file.write(b"new")


def _put(fs: OpendalFileSystem, path: str, tmp: Path) -> None:
    (tmp / "source").write_bytes(b"new")
    fs.put_file(str(tmp / "source"), path)


def _copied(fs: OpendalFileSystem, path: str, tmp: Path) -> None:
    (tmp / "source").write_bytes(b"new")
    fs.cp_file(str(tmp / "source"), path)


WRITES: dict[str, Callable[[OpendalFileSystem, str, Path], Any]] = {
    "open": _opened,
    "pipe": lambda fs, path, tmp: fs.pipe_file(path, b"new"),
    "put": _put,
    "cp": _copied,
    "parts": lambda fs, path, tmp: fs.pipe_file(path, b"new" * (4 << 20)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("existing", [True, False])
def test_a_write_replaces_what_a_link_leads_to(
    fs: FsFileSystem, link: Path, tmp_path: Path, write: Callable[..., Any], existing: bool
) -> None:
    target = tmp_path / "d" / "target"
    if existing:
        target.chmod(0o600)
    else:
        target.unlink()
    write(fs, str(link), tmp_path)
    assert link.is_symlink()
    assert fs.cat_file(str(link)) == target.read_bytes()
    assert target.read_bytes()[:3] == b"new"
    assert os.listdir(tmp_path / "d") == ["target"]
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]
    if existing:
        assert target.stat().st_mode & 0o777 == 0o600


async def test_an_asynchronous_file_replaces_what_a_link_leads_to(fs: FsFileSystem, link: Path) -> None:
    async with await fs.open_async(str(link), "wb") as file:
        await file.write(b"new")
    assert os.readlink(link) == "d/target"
    assert await fs._cat_file(str(link)) == b"new"


def test_a_write_follows_a_link_out_of_the_root(link: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "link")
    fs = OpendalFileSystem("fs", root=str(tmp_path / "root"))
    for content in (b"new", b"newer"):
        fs.pipe_file("source", content)
        if content == b"new":
            fs.pipe_file("link", content)
        else:
            fs.cp_file("source", "link")
        assert (tmp_path / "root" / "link").is_symlink()
        assert link.is_symlink()
        assert (tmp_path / "d" / "target").read_bytes() == content


def test_a_failed_write_leaves_what_a_link_leads_to(fs: FsFileSystem, link: Path, tmp_path: Path) -> None:
    def fail() -> None:
        with fs.open(str(link), "wb") as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert link.read_bytes() == b"old"
    assert os.listdir(tmp_path / "d") == ["target"]


def test_a_file_is_not_created_through_a_link(fs: FsFileSystem, link: Path, tmp_path: Path) -> None:
    (tmp_path / "d" / "target").unlink()
    with pytest.raises(FileExistsError):
        fs.pipe_file(str(link), b"new", mode="create")
    with pytest.raises(FileExistsError), fs.open(str(link), "xb") as file:
        file.write(b"new")
    assert os.listdir(tmp_path / "d") == []


def test_a_write_to_a_linked_directory_is_refused(fs: FsFileSystem, link: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to("d")
    with pytest.raises(IsADirectoryError):
        fs.pipe_file(f"{tmp_path}/folder", b"new")
    assert (tmp_path / "folder").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["d", "folder", "link"]


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("linked", [False, True])
def test_a_write_puts_no_file_in_the_place_of_a_pipe(
    fs: FsFileSystem, tmp_path: Path, write: Callable[..., Any], linked: bool
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with pytest.raises(UnsupportedError, match="pipe or a device"):
        write(fs, f"{tmp_path}/{'link' if linked else 'pipe'}", tmp_path)
    assert (tmp_path / "pipe").is_fifo()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_mv_onto_a_link_replaces_it(fs: FsFileSystem, link: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    fs.mv(f"{tmp_path}/new", str(link))
    assert not link.is_symlink()
    assert (tmp_path / "d" / "target").read_bytes() == b"old"


# Downloads


@pytest.mark.parametrize("existing", [False, True])
def test_a_download_goes_where_a_link_leads(tmp_path: Path, existing: bool) -> None:
    memory = opendalfs.filesystem("memory", root=f"/{uuid4().hex}")
    memory.pipe_file("a", b"new")
    (tmp_path / "d").mkdir()
    if existing:
        (tmp_path / "d" / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "d" / "a")
    memory.get_file("a", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "d" / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path / "d") == ["a"]
