"""The core by itself, with no server and nothing that only POSIX has.

The jobs for Windows and macOS run this folder. To do as they do::

    pytest --confcutdir tests/portable tests/portable
"""

from __future__ import annotations

import ntpath
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

import opendalfs
from opendalfs import OpendalFileSystem, UnsupportedError, urls
from opendalfs.fs import service_filesystem

MANY = bytes(range(256)) * 4096


@pytest.fixture(params=["memory", "fs"])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> OpendalFileSystem:
    # Parts of 64 KiB, so that a mebibyte is read and written in many.
    options: dict[str, Any] = {"read_chunk": 65536, "write_chunk": 65536}
    if request.param == "fs":
        options["root"] = str(tmp_path / "store")
    return OpendalFileSystem(request.param, **options)


def test_content_is_written_and_read(fs: OpendalFileSystem) -> None:
    fs.pipe_file("c/a.bin", MANY)
    assert fs.cat_file("c/a.bin") == MANY
    assert fs.cat_file("c/a.bin", start=-3) == MANY[-3:]
    assert fs.cat_ranges(["c/a.bin"] * 2, [0, 5], [2, 9]) == [MANY[:2], MANY[5:9]]
    with fs.open("c/text", "w", encoding="utf-8", newline="") as file:
        file.write("grüße\n")
    with fs.open("c/text", "r", encoding="utf-8", newline="") as file:
        assert file.read() == "grüße\n"
    with pytest.raises(TypeError), fs.open("c/text", "w") as file:
        file.write(b"no text")
    assert fs.cat_file("c/text") == "grüße\n".encode()
    fs.rm("c", recursive=True)


async def test_content_is_read_in_coroutines(fs: OpendalFileSystem) -> None:
    await fs._pipe_file("async/a", b"abc")
    async with await fs.open_async("async/a") as file:
        assert await file.read() == b"abc"
    await fs._rm("async", recursive=True)


def test_files_are_uploaded_and_downloaded_whole(fs: OpendalFileSystem, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "a.bin").write_bytes(MANY)
    (source / "deep" / "b").write_bytes(b"b")
    fs.put(str(source), "up", recursive=True)
    assert fs.find("up") == ["up/a.bin", "up/deep/b"]
    target.mkdir()
    (target / "a.bin").write_bytes(b"older")
    fs.get("up/", str(target), recursive=True)
    assert (target / "a.bin").read_bytes() == MANY
    assert (target / "deep" / "b").read_bytes() == b"b"
    assert sorted(path.name for path in target.iterdir()) == ["a.bin", "deep"]
    fs.rm("up", recursive=True)


def test_names_are_listed_and_changed(fs: OpendalFileSystem) -> None:
    fs.pipe({"n/a": b"1", "n/d/b": b"22"})
    assert fs.ls("n", detail=False) == ["n/a", "n/d"]
    assert fs.info("n/d/b")["size"] == 2
    assert fs.isdir("n/d")
    fs.cp_file("n/a", "n/copy")
    fs.mv("n/a", "n/moved")
    assert fs.find("n") == ["n/copy", "n/d/b", "n/moved"]
    fs.rm("n", recursive=True)
    assert not fs.exists("n/copy")


def test_urls_need_no_import() -> None:
    with fsspec.open("opendal+memory://portable/key", "wb") as file:
        file.write(b"data")
    assert fsspec.filesystem("opendal+memory").cat_file("portable/key") == b"data"


def test_the_url_of_a_drive_has_slashes_whatever_the_system_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = OpendalFileSystem("fs", root="C:/store")
    monkeypatch.setattr(urls, "os", SimpleNamespace(path=ntpath))
    assert fs.unstrip_protocol("a/b.bin") == "opendal+fs:///C:/store/a/b.bin"
    assert fs.locate(fs.unstrip_protocol("a/b.bin"))[1] == "a/b.bin"


def test_a_process_ends_well_after_use() -> None:
    code = (
        "import opendalfs; fs = opendalfs.filesystem('memory'); fs.pipe_file('a/b', b'x'); fs.cat_file('a/b')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_absolute_paths_are_served_where_there_are_any_and_refused_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make: Callable[[], Any] = lambda: opendalfs.filesystem("fs", skip_instance_cache=True)  # noqa: E731
    if os.name != "nt":
        make().pipe_file(str(tmp_path / "file"), b"x")
        assert (tmp_path / "file").read_bytes() == b"x"
    monkeypatch.setattr(service_filesystem, "_WINDOWS", True)
    with pytest.raises(UnsupportedError, match=r"OpendalFileSystem\('fs', root='C:/folder'\)"):
        make()
