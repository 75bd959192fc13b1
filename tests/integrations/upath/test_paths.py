"""`UPath` of universal_pathlib over memory and S3. A warning fails these tests."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from upath import UPath

import opendalfs
from opendalfs.testing import S3Server
from opendalfs_upath import OpendalPath

SCHEMES = ["opendal+s3", "opendal+memory", "opendalmemory"]


@pytest.fixture(params=SCHEMES)
def root(request: pytest.FixtureRequest) -> Iterator[UPath]:
    """Yield an unused directory of a bucket."""
    if request.param.endswith("s3"):
        server: S3Server = request.getfixturevalue("s3_server")
        yield UPath(f"{request.param}://{request.getfixturevalue('prefix')}", **server.options)
        return
    folder = f"upath-{uuid4().hex}"
    yield UPath(f"{request.param}://{folder}/files")
    fs = opendalfs.MemoryFileSystem()
    if fs.exists(folder):
        fs.rm(folder, recursive=True)


def names(paths: Any) -> list[str]:
    return sorted(path.name for path in paths)


def found(root: UPath) -> list[str]:
    """Return the paths of all files, below a directory."""
    return sorted(name.removeprefix(f"{root.path}/") for name in root.fs.find(root.path))


def test_a_url_makes_the_registered_class(root: UPath) -> None:
    assert type(root) is OpendalPath
    assert root.fs.exists(root.path) is False
    assert OpendalPath(str(root), **root.storage_options) == root
    assert UPath(root.path, protocol=root.protocol, **root.storage_options) == root


def test_paths_are_joined_and_split(root: UPath) -> None:
    path = root / "a" / "b.tar.gz"
    assert path == root.joinpath("a", "b.tar.gz") == root.joinpath("a/b.tar.gz") == UPath(root, "a/b.tar.gz")
    assert str(path) == path.as_uri() == f"{root}/a/b.tar.gz"
    assert (path.name, path.stem, path.suffix, path.suffixes) == ("b.tar.gz", "b.tar", ".gz", [".tar", ".gz"])
    assert path.parent.parent == root
    assert root in path.parents
    assert path.with_name("c") == root / "a" / "c"
    assert path.with_suffix(".zip") == root / "a" / "b.tar.zip"
    assert str(path.relative_to(root)) == "a/b.tar.gz"
    assert path.is_absolute()
    assert path.fs is root.fs


def test_copies_are_equal(root: UPath) -> None:
    path = root / "a"
    for same in (copy.copy(path), UPath(path), pickle.loads(pickle.dumps(path))):
        assert same == path
        assert hash(same) == hash(path)
        assert same.storage_options == path.storage_options
        assert same.fs == path.fs


def test_files_are_written_and_read(root: UPath) -> None:
    path = root / "deep" / "a.txt"
    assert not path.exists()
    assert path.write_bytes(b"one\ntwo") == 7
    assert path.read_bytes() == b"one\ntwo"
    with path.open() as file:
        assert file.readlines() == ["one\n", "two"]
    with path.open("w", encoding="latin-1") as file:
        file.write("ü")
    assert path.read_text(encoding="latin-1") == "ü"
    with path.open("ab") as file:
        file.write(b"!")
    assert path.read_bytes() == b"\xfc!"
    with pytest.raises(FileExistsError):
        path.open("xb").close()
    with pytest.raises(ZeroDivisionError), path.open("wb") as file:
        file.write(b"%d" % (1 // 0))
    assert path.stat().st_size == 2


def test_files_are_described(root: UPath) -> None:
    path = root / "a.txt"
    path.write_bytes(b"12345")
    info = path.stat()
    assert info.st_size == 5
    assert info.st_mtime == pytest.approx(root.fs.modified(path.path).timestamp(), abs=1)
    assert (path.exists(), path.is_file(), path.is_dir()) == (True, True, False)
    assert (root.exists(), root.is_file(), root.is_dir()) == (True, False, True)
    assert path.info.exists()
    with pytest.raises(FileNotFoundError):
        (root / "b.txt").stat()


def test_directories_are_listed_and_searched(root: UPath) -> None:
    for name in ("a.txt", "b.csv", "sub/c.txt", "sub/deep/d.txt"):
        (root / name).write_text(name)
    assert names(root.iterdir()) == ["a.txt", "b.csv", "sub"]
    assert all(path.parent == root and type(path) is OpendalPath for path in root.iterdir())
    assert names(root.glob("*.txt")) == ["a.txt"]
    assert names(root.glob("*/*.txt")) == ["c.txt"]
    assert names(root.glob("**/*.txt")) == names(root.rglob("*.txt")) == ["a.txt", "c.txt", "d.txt"]
    [found] = root.glob("sub/deep/*")
    assert found == root / "sub" / "deep" / "d.txt"
    assert found.read_text() == "sub/deep/d.txt"
    assert [(path.name, folders, sorted(files)) for path, folders, files in root.walk()][1:] == [
        ("sub", ["deep"], ["c.txt"]),
        ("deep", [], ["d.txt"]),
    ]
    with pytest.raises(NotADirectoryError):
        list((root / "a.txt").iterdir())


def test_directories_are_made_and_removed(root: UPath) -> None:
    root.mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    with pytest.raises(FileExistsError):
        root.mkdir()
    path = root / "a.txt"
    path.touch()
    assert path.read_bytes() == b""
    path.unlink()
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        path.unlink()
    path.unlink(missing_ok=True)
    root.rmdir()
    assert not root.exists()


def test_files_are_copied_and_moved(root: UPath, tmp_path: Path) -> None:
    path = root / "a.txt"
    path.write_text("text")
    assert path.copy(root / "b.txt").read_text() == "text"
    assert path.copy(str(root / "c.txt")).read_text() == "text"
    assert path.copy(UPath(tmp_path / "local.txt")).read_text() == "text"
    assert UPath(tmp_path / "local.txt").copy(root / "d.txt").read_text() == "text"
    assert path.rename(root / "e.txt").read_text() == "text"
    assert (root / "e.txt").move(root / "f" / "e.txt").read_text() == "text"
    assert names(root.iterdir()) == ["b.txt", "c.txt", "d.txt", "f"]


def test_names_that_look_like_patterns_are_names(root: UPath) -> None:
    odd, other = root / "a[1].txt", root / "a1.txt"
    for path in (odd, other, root / "d[1]" / "x", root / "d1" / "x"):
        path.write_text(path.name)
    odd.unlink()
    assert found(root) == ["a1.txt", "d1/x", "d[1]/x"]
    with pytest.raises(FileNotFoundError):
        odd.unlink()
    (root / "d[1]").rmdir()
    assert found(root) == ["a1.txt", "d1/x"]
    for number, method in enumerate(("rename", "move")):
        odd.write_text("odd")
        assert getattr(odd, method)(root / f"b{number}").read_text() == "odd"
    assert found(root) == ["a1.txt", "b0", "b1", "d1/x"]
    assert other.read_text() == "a1.txt"


def test_a_move_loses_nothing(root: UPath) -> None:
    (root / "d" / "x").write_text("x")
    (root / "e" / "y").write_text("y")
    for target in (root / "d", root / "d" / "sub", root / "e", root / "e" / "y"):
        with suppress(OSError):
            (root / "d").move(target)
        assert (root / "d" / "x").read_text() == "x", target
    assert (root / "e" / "y").read_text() == "y"
    assert ((root / "d").move(root / "f") / "x").read_text() == "x"
    assert found(root) == ["e/y", "f/x"]


def test_no_move_removes_the_only_file(s3_server: S3Server, tmp_path: Path) -> None:
    url, options = f"{s3_server.bucket}/upath/same", s3_server.options
    local = str(tmp_path / "same")
    aliases = [
        (UPath(f"opendal+s3://{url}", **options), UPath(f"opendal+s3://{url}", concurrency=3, **options)),
        (UPath(f"opendal+s3://{url}", **options), UPath(f"s3://{url}", **options)),
        (UPath(f"opendallocal://{local}"), UPath(local)),
    ]
    for one, other in [*aliases, *((b, a) for a, b in aliases)]:
        one.write_bytes(b"content")
        with pytest.raises(OSError, match="may be the same file"):
            one.move(other)
        assert one.read_bytes() == b"content"
        with suppress(OSError):
            one.copy(other)
        assert one.read_bytes() == b"content"


def test_no_whole_bucket_is_moved(s3_server: S3Server, prefix: str, tmp_path: Path) -> None:
    path = UPath(f"opendal+s3://{prefix}/x", **s3_server.options)
    path.write_text("x")
    with pytest.raises(PermissionError, match="whole container"):
        UPath(f"opendal+s3://{s3_server.bucket}", **s3_server.options).move(UPath(str(tmp_path / "all")))
    assert path.exists()
    assert not (tmp_path / "all").exists()


def test_a_move_to_another_filesystem_replaces_what_is_there(root: UPath, tmp_path: Path) -> None:
    (root / "x").write_bytes(b"longer than before")
    target = UPath(str(tmp_path / "x"))
    target.write_bytes(b"before")
    assert (root / "x").move(target).read_bytes() == b"longer than before"
    assert not (root / "x").exists()
    assert target.move(root / "x").read_bytes() == b"longer than before"
    assert not target.exists()


def test_a_move_to_another_filesystem_removes_only_what_it_has_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = UPath(f"opendallocal://{tmp_path}/source"), UPath(str(tmp_path / "target"))
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "x").write_text("x")
    copy_tree = OpendalPath.copy

    def copy_while_another_writes(path: OpendalPath, to: Any, **kwargs: Any) -> Any:
        done = copy_tree(path, to, **kwargs)
        (tmp_path / "source" / "sub" / "late").write_text("late")
        return done

    with monkeypatch.context() as patched:
        patched.setattr(OpendalPath, "copy", copy_while_another_writes)
        source.move(target)
    assert (tmp_path / "target" / "sub" / "x").read_text() == "x"
    assert [path.name for path in (tmp_path / "source").rglob("*")] == ["sub", "late"]
    source.move(UPath(str(tmp_path / "rest")))
    assert (tmp_path / "rest" / "sub" / "late").read_text() == "late"
    assert not (tmp_path / "source").exists()


def test_a_part_does_not_lead_to_another_bucket(root: UPath) -> None:
    if "s3" in root.protocol:
        with pytest.raises(ValueError, match="would be in another bucket"):
            root / "/other/key"


def test_a_key_with_two_colons_is_refused(root: UPath) -> None:
    """universal_pathlib would take what follows for another URL, and read or write the part before it."""
    for parts in (("a::b",), ("a", "b::c")):
        with pytest.raises(ValueError, match="'::'"):
            root.joinpath(*parts)
    with pytest.raises(ValueError, match="'::'"):
        UPath(f"{root}/a::b", **root.storage_options)


def test_the_server_of_a_url_is_kept() -> None:
    path = UPath("opendal+webdav://host:8080/a/b.txt", username="me")
    assert path.path == "a/b.txt"
    assert str(path.parent / "c") == "opendal+webdav://host:8080/a/c"
    assert UPath(str(path), username="me") == path
    assert path.parent.fs.endpoint == "http://host:8080"
    assert str(UPath("a", protocol="opendal+webdav", endpoint="http://host:1")) == "opendal+webdav://host:1/a"
    with pytest.raises(ValueError, match="on another server"):
        UPath("opendal+webdav://host/a", endpoint="http://elsewhere")
    with pytest.raises(ValueError, match="on another server"):
        path.rename("opendal+webdav://elsewhere/a")


def test_an_account_in_a_url_is_compared_with_the_options() -> None:
    path = UPath("opendal+azdls://lake@acct.dfs.core.windows.net/a", account_key="a2V5")
    assert path.path == "lake/a"
    assert path.parent.fs.native["account_name"] == "acct"
    with pytest.raises(opendalfs.OptionError, match="other"):
        UPath(str(path), **{**path.storage_options, "account_name": "other"}).exists()


def test_local_paths_are_absolute(tmp_path: Path) -> None:
    path = UPath(f"opendal+fs://{tmp_path}") / "a.txt"
    path.write_text("text")
    assert (tmp_path / "a.txt").read_text() == "text"
    assert str(path) == f"opendal+fs://{tmp_path}/a.txt"


def test_a_scheme_with_a_hyphen_is_taken_as_protocol() -> None:
    path = UPath("a/b", protocol="opendal+hdfs-native", name_node="hdfs://host:8020")
    assert type(path) is OpendalPath
    assert path.parent.path == "a"


def test_no_option_shows_in_a_repr() -> None:
    path = UPath("opendal+webdav://me:secret@host/a")
    assert "secret" not in repr(path) + str(path)
    assert path.fs.native["password"] == "secret"
    with pytest.raises(ValueError, match="other storage options") as caught:
        path.relative_to(UPath("opendal+webdav://me:another@host/"))
    assert "secret" not in str(caught.value)
    assert "another" not in str(caught.value)


FRESH = """
import warnings

warnings.simplefilter("error")
from upath import UPath

path = UPath("opendal+memory://bucket") / "key"
path.write_text("text")
print(path.read_text(), path.parent, [str(found) for found in path.parent.iterdir()])
"""


CHAIN_FIRST = """
import warnings

from upath import UPath

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    chain = UPath("simplecache::opendal+memory://bucket/key.txt")
print(len(caught), chain.name, *UPath("opendal+memory://bucket/key.txt").parts)
"""

CLASS_FIRST = """
import warnings

warnings.simplefilter("error")
import fsspec
from upath import UPath

fsspec.get_filesystem_class("opendal+memory")
print(UPath("simplecache::opendal+memory://bucket/key.txt").name)
"""


@pytest.mark.parametrize(
    ("program", "output"),
    [
        (FRESH, "text opendal+memory://bucket ['opendal+memory://bucket/key']"),
        # docs/tools.md: a warning and a wrong name, but not for the paths of opendalfs that come later
        (CHAIN_FIRST, "1 ey.txt / bucket key.txt"),
        (CLASS_FIRST, "key.txt"),
    ],
    ids=["no import and no warning", "a chain first", "a chain, with the class loaded"],
)
def test_in_a_new_process(program: str, output: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == output
