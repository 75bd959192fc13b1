"""Progress of get, put and cp: callbacks of fsspec count files, and bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fsspec.callbacks import Callback, TqdmCallback

import opendalfs
from opendalfs import BytesCallback
from opendalfs.testing import S3Server

SIZES = {"a": 300_000, "b/c": 5, "b/d": 0, "e": 70_000}
TOTAL = sum(SIZES.values())


@pytest.fixture
def fs(s3_server: S3Server) -> opendalfs.S3FileSystem:
    """Return a filesystem that reads in small parts."""
    return opendalfs.filesystem("s3", skip_instance_cache=True, read_chunk=1 << 16, **s3_server.options)


@pytest.fixture
def tree(fs: opendalfs.S3FileSystem, s3_server: S3Server) -> str:
    """Write some files, and return their directory."""
    root = f"{s3_server.bucket}/progress-{uuid4().hex}"
    fs.pipe({f"{root}/{name}": bytes(size) for name, size in SIZES.items()})
    return root


def transfers(fs: opendalfs.S3FileSystem, tree: str, local: Path) -> dict[str, Callable[[Any], Any]]:
    """Return what transfers the tree down, up and on the server, in an order that works."""
    return {
        "get": lambda bar: fs.get(tree, str(local), recursive=True, callback=bar),
        "put": lambda bar: fs.put(str(local), f"{tree}-put", recursive=True, callback=bar),
        "cp": lambda bar: fs.cp(tree, f"{tree}-cp", recursive=True, callback=bar),
    }


def test_a_callback_of_bytes_counts_all_files_together(
    fs: opendalfs.S3FileSystem, tree: str, tmp_path: Path
) -> None:
    for name, transfer in transfers(fs, tree, tmp_path / "tree").items():
        parts: list[int] = []
        transfer(BytesCallback(parts.append))
        assert sum(parts) == TOTAL, name
        # The large file of a download arrives in several parts.
        assert len(parts) >= (len(SIZES) if name == "get" else 3), name


def test_a_callback_of_fsspec_counts_files(fs: opendalfs.S3FileSystem, tree: str, tmp_path: Path) -> None:
    for name, transfer in transfers(fs, tree, tmp_path / "tree").items():
        bar = Callback()
        transfer(bar)
        assert bar.value == bar.size, name
        assert bar.value >= len(SIZES), name


def test_single_files_count_bytes(fs: opendalfs.S3FileSystem, tree: str, tmp_path: Path) -> None:
    source, local = f"{tree}/a", str(tmp_path / "a")
    for transfer in (
        lambda bar: fs.get_file(source, local, callback=bar),
        lambda bar: fs.put_file(local, f"{tree}/put", callback=bar),
        lambda bar: fs.cp_file(source, f"{tree}/cp", callback=bar),
    ):
        bar = Callback()
        transfer(bar)
        assert (bar.size, bar.value) == (SIZES["a"], SIZES["a"])
        parts: list[int] = []
        transfer(BytesCallback(parts.append))
        assert sum(parts) == SIZES["a"]
    parts = []
    fs.cp(source, f"{tree}/copy", callback=BytesCallback(parts.append))
    assert sum(parts) == SIZES["a"]


def test_one_callback_counts_the_bytes_of_several_transfers(
    fs: opendalfs.S3FileSystem, tree: str, tmp_path: Path
) -> None:
    parts: list[int] = []
    bar = BytesCallback(parts.append)
    for transfer in transfers(fs, tree, tmp_path / "tree").values():
        transfer(bar)
        fs.get_file(f"{tree}/e", str(tmp_path / "e"), callback=bar)
    assert sum(parts) == 3 * (TOTAL + SIZES["e"])


def test_a_file_that_is_gone_before_its_copy_is_not_counted(
    fs: opendalfs.S3FileSystem, s3_server: S3Server, tree: str
) -> None:
    parts: list[int] = []

    def update(size: int) -> None:
        s3_server.client.delete_object(Bucket=s3_server.bucket, Key=f"{tree}/e".partition("/")[2])
        parts.append(size)

    fs.cp(tree, f"{tree}-cp", recursive=True, batch_size=1, callback=BytesCallback(update))
    assert sum(parts) == fs.du(f"{tree}-cp") == TOTAL - SIZES["e"]


def test_a_copy_without_a_callback_takes_no_request_for_the_size(
    fs: opendalfs.S3FileSystem, tree: str
) -> None:
    with opendalfs.trace() as trace:
        fs.cp_file(f"{tree}/a", f"{tree}/copy")
    assert trace.count() == trace.count("copy") == 1


def test_a_download_that_begins_again_is_counted_once(
    fs: opendalfs.S3FileSystem, s3_server: S3Server, tree: str, tmp_path: Path
) -> None:
    """The file changes after its first parts, and a cached listing has shown the version before."""
    large, key = f"{tree}/large", f"{tree}/large".partition("/")[2]
    fs.pipe_file(large, b"1" * 3_000_000)
    fs.ls(tree, refresh=True)
    parts: list[int] = []

    def update(size: int) -> None:
        if not parts:
            s3_server.client.put_object(Bucket=s3_server.bucket, Key=key, Body=b"2" * 2_000_000)
        parts.append(size)

    fs.get_file(large, str(tmp_path / "large"), callback=BytesCallback(update))
    assert (tmp_path / "large").read_bytes() == b"2" * 2_000_000
    assert sum(parts) == 2_000_000
    assert min(parts) < 0


def test_bars_of_tqdm_end_at_their_total(
    fs: opendalfs.S3FileSystem, tree: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    auto = pytest.importorskip("tqdm.auto")
    for name, transfer in transfers(fs, tree, tmp_path / "bytes").items():
        with auto.tqdm(total=fs.du(tree), unit="B", unit_scale=True, desc=name) as bar:
            transfer(BytesCallback(bar.update))
        assert bar.n == bar.total == TOTAL, name
        shown = capsys.readouterr().err
        assert f"{name}: 100%" in shown
        assert "370k/370k" in shown
    for name, transfer in transfers(fs, tree, tmp_path / "files").items():
        with TqdmCallback(tqdm_cls=auto.tqdm, tqdm_kwargs={"desc": name}) as files:
            transfer(files)
            assert files.tqdm.n == files.tqdm.total >= len(SIZES), name
        assert f"{name}: 100%" in capsys.readouterr().err
