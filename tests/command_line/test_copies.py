"""`cp` and `mv`: between this machine and services, without losing a source or a target."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import opendalfs
from opendalfs.fs.content import ContentFileSystem
from opendalfs.testing import Pyftpdlib, S3Server
from opendalfs_cli import transfers

from .conftest import Run

FILES = {"a.csv": b"12345", "2026/b.csv": b"1234567", "2026/c[1].txt": b"literal"}


@pytest.fixture
def local(tmp_path: Path) -> str:
    for name, data in FILES.items():
        file = tmp_path / "lake" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return str(tmp_path / "lake")


@pytest.fixture
def remote() -> str:
    """Return the URL of a directory in memory, with the same files."""
    name = uuid4().hex
    opendalfs.filesystem("memory").pipe({f"{name}/lake/{key}": data for key, data in FILES.items()})
    return f"memory://{name}/lake"


def content(url: str) -> dict[str, bytes]:
    """Return the content of all files below a URL or local path."""
    if "://" in url:
        fs, root = opendalfs.filesystem("memory"), url.removeprefix("memory://")
        return {name.removeprefix(f"{root}/"): fs.cat_file(name) for name in fs.find(root)}
    return {
        path.relative_to(url).as_posix(): path.read_bytes() for path in Path(url).rglob("*") if path.is_file()
    }


def target_of(kind: str, tmp_path: Path) -> str:
    return str(tmp_path / "target") if kind == "local" else f"memory://{uuid4().hex}"


@pytest.mark.parametrize("to", ["local", "remote"])
@pytest.mark.parametrize("source", ["local", "remote"])
@pytest.mark.parametrize("command", ["cp", "mv"])
def test_a_directory_becomes_the_target_or_goes_into_it(
    command: str, source: str, to: str, run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(source)
    recursive = ["-r"] if command == "cp" else []
    target = target_of(to, tmp_path)
    assert run(command, *recursive, url, target).output == ""
    assert content(target) == FILES
    assert content(url) == (FILES if command == "cp" else {})
    if command == "cp":
        # Now the target exists.
        assert run(command, "-r", url, target).output == ""
        assert content(f"{target}/lake") == FILES
    elif source == "local":
        assert not Path(url).exists()


@pytest.mark.parametrize("to", ["local", "remote"])
@pytest.mark.parametrize("source", ["local", "remote"])
@pytest.mark.parametrize("command", ["cp", "mv"])
def test_a_file_becomes_the_target_or_goes_into_it(
    command: str, source: str, to: str, run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(source)
    target = target_of(to, tmp_path)
    assert run(command, f"{url}/2026/c[1].txt", f"{target}/copy").output == ""
    assert run(command, f"{url}/a.csv", f"{url}/2026/b.csv", f"{target}/").output == ""
    assert content(target) == {"copy": b"literal", "a.csv": b"12345", "b.csv": b"1234567"}
    assert content(url) == (FILES if command == "cp" else {})


def test_patterns_of_urls_are_expanded(run: Run, remote: str, tmp_path: Path) -> None:
    assert run("cp", f"{remote}/*.csv", f"{remote}/2026/*.csv", f"{tmp_path}/").exit_code == 0
    assert content(str(tmp_path)) == {"a.csv": b"12345", "b.csv": b"1234567"}
    assert run("cp", f"{remote}/*.none", f"{tmp_path}/").exit_code == 3


@pytest.mark.parametrize("where", ["local", "remote"])
@pytest.mark.parametrize("command", ["cp", "mv"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/a.csv", "{}/a.csv"], "are the same file"),
        (["{}/a.csv", "{}/"], "are the same file"),
        (["{}", "{}/2026/new"], "cannot be put into itself"),
        (["{}/a.csv", "{}/2026/b.csv", "{}/new"], "is not a directory"),
        (["{}/2026/b.csv", "{}/2026/../2026/b.csv", "{}/new/"], ""),
        (["{}/missing", "{}/new"], "No such file"),
    ],
)
def test_what_would_lose_a_file_is_refused(
    arguments: list[str],
    message: str,
    command: str,
    where: str,
    run: Run,
    request: pytest.FixtureRequest,
) -> None:
    url = request.getfixturevalue(where)
    recursive = ["-r"] if command == "cp" else []
    result = run(command, *recursive, *(argument.format(url) for argument in arguments))
    assert result.exit_code in (1, 3)
    assert message in result.stderr
    assert content(url) == FILES


def test_a_directory_is_copied_only_with_r(run: Run, local: str, remote: str) -> None:
    for url in (local, remote):
        result = run("cp", url, f"{url}-copy")
        assert result.exit_code == 1
        assert "pass -r" in result.stderr
        assert content(f"{url}-copy") == {}


@pytest.mark.parametrize("command", ["cp", "mv"])
def test_an_object_that_is_a_directory_too_is_taken_with_all_that_is_below_it(
    command: str, run: Run, tmp_path: Path
) -> None:
    """Such as the empty objects that mark directories on Azure."""
    fs, name = opendalfs.filesystem("memory"), uuid4().hex
    recursive = ["-r"] if command == "cp" else []
    fs.pipe({f"{name}/d": b"", f"{name}/d/x": b"x", f"{name}/e": b"e", f"{name}/e/y": b"y"})
    assert run(command, *recursive, f"memory://{name}/d", str(tmp_path / "d")).output == ""
    assert content(str(tmp_path / "d")) == {"x": b"x"}
    result = run(command, *recursive, f"memory://{name}/e", str(tmp_path / "e"))
    assert "both an object and a directory" in result.stderr
    assert [fs.cat_file(f"{name}/{key}") for key in ("e", "e/y")] == [b"e", b"y"]
    assert fs.exists(f"{name}/d/x") == (command == "cp")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("command", ["cp", "mv"])
def test_a_directory_with_a_pipe_is_refused(command: str, local: str, run: Run) -> None:
    """A read of it would wait for a writer."""
    os.mkfifo(f"{local}/pipe")
    result = run(command, *(["-r"] if command == "cp" else []), local, f"memory://{uuid4().hex}")
    assert "is a pipe" in result.stderr
    assert content(local) == FILES


def test_two_files_that_would_become_one_are_refused(run: Run, local: str, remote: str) -> None:
    result = run("cp", f"{local}/a.csv", f"{remote}/a.csv", "memory://elsewhere/")
    assert result.exit_code == 1
    assert "two files would become" in result.stderr
    assert content("memory://elsewhere") == {}


@pytest.mark.parametrize("source", ["local", "remote"])
@pytest.mark.parametrize("command", ["cp", "mv"])
def test_a_copy_that_fails_keeps_source_and_target(
    command: str,
    source: str,
    run: Run,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One file of the tree cannot be written: what was there stays, and all of the source."""
    url = request.getfixturevalue(source)
    target = target_of("remote" if source == "local" else "local", tmp_path)
    previous = f"{target}/2026/b.csv"
    assert run("cp", f"{url}/a.csv", previous).exit_code == 0

    def failing(original: Any) -> Any:
        async def transfer(self: Any, one: str, other: str, **kwargs: Any) -> None:
            if one.endswith("b.csv"):
                raise OSError(28, "No space left on device", other)
            await original(self, one, other, **kwargs)

        return transfer

    for name in ("_get_file", "_put_file"):
        monkeypatch.setattr(ContentFileSystem, name, failing(getattr(ContentFileSystem, name)))
    recursive = ["-r"] if command == "cp" else []
    result = run(command, *recursive, f"{url}/a.csv", f"{url}/2026", f"{target}/")
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert content(target)["2026/b.csv"] == b"12345"
    assert FILES.items() - content(url).items() <= {("a.csv", b"12345")}
    assert FILES.items() <= {**content(target), **content(url)}.items()


@pytest.mark.parametrize("change", ["target is cut", "source changes"])
def test_mv_removes_nothing_if_the_copy_is_not_the_source(
    change: str, run: Run, local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"memory://{uuid4().hex}"
    original = transfers.transfer

    def transfer(plans: Any, label: str) -> None:
        original(plans, label)
        if change == "target is cut":
            opendalfs.filesystem("memory").pipe_file(f"{target[9:]}/a.csv", b"123")
        else:
            (Path(local) / "a.csv").write_bytes(b"54321!")

    monkeypatch.setattr("opendalfs_cli.copies.transfer", transfer)
    result = run("mv", local, target)
    assert result.exit_code == 1
    assert "nothing was removed" in result.stderr
    assert content(local).keys() == FILES.keys()


def test_mv_keeps_an_object_whose_target_is_itself_under_another_name_of_the_server(
    run: Run, s3_server: S3Server, prefix: str
) -> None:
    fs = opendalfs.filesystem("s3", **s3_server.options)
    fs.pipe_file(f"{prefix}/a", b"only copy")
    fs.pipe_file(f"{prefix}/d/b", b"only copy")
    other = s3_server.endpoint.replace("127.0.0.1", "localhost")
    sides = [("--from-option", s3_server.endpoint), ("--to-option", other)]
    keys = {"key": s3_server.access_key, "secret": s3_server.secret_key}
    options = [
        text
        for side, url in sides
        for k, v in {"endpoint": url, **keys}.items()
        for text in (side, f"{k}={v}")
    ]
    for paths in ([f"s3://{prefix}/a", f"s3://{prefix}/"], [f"s3://{prefix}/d", f"s3://{prefix}/"]):
        result = run("mv", *paths, *options)
        assert "may be the same file" in result.stderr
        assert result.exit_code == 1
    assert fs.cat(fs.find(prefix)) == {f"{prefix}/a": b"only copy", f"{prefix}/d/b": b"only copy"}


def test_mv_keeps_a_file_whose_target_is_itself_on_the_disk_of_an_ftp_server(
    run: Run, ftp_server: Pyftpdlib
) -> None:
    """Its times are in minutes, so that they show no change that a copy onto itself makes."""
    folder = ftp_server.served / uuid4().hex
    folder.mkdir()
    file = folder / "a"
    file.write_bytes(b"only copy")
    keys = {"user": ftp_server.user, "password": ftp_server.password}
    options = [text for k, v in keys.items() for text in ("--from-option", f"{k}={v}")]
    url = f"{ftp_server.endpoint}/{folder.name}"
    for paths in ([f"{url}/a", str(file)], [f"{url}/a", str(folder)], [url, str(folder.parent)]):
        result = run("mv", *paths, *options)
        assert "may be the same file" in result.stderr
        assert result.exit_code == 1
        assert file.read_bytes() == b"only copy"
    assert run("mv", f"{url}/a", str(folder / "b"), *options).exit_code == 0
    assert (folder / "b").read_bytes() == b"only copy"


@pytest.mark.parametrize("url", ["memory://", "/"])
def test_mv_refuses_a_whole_bucket_or_disk(url: str, remote: str, run: Run, tmp_path: Path) -> None:
    """An unset variable at the end of a URL is enough to name one."""
    result = run("mv", url, str(tmp_path / "target") if "://" in url else f"memory://{uuid4().hex}")
    assert result.exit_code == 1
    assert "Refused" in result.stderr
    assert content(remote) == FILES


def test_mv_keeps_files_that_were_added_meanwhile(
    run: Run, local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = transfers.transfer

    def transfer(plans: Any, label: str) -> None:
        original(plans, label)
        (Path(local) / "new.csv").write_bytes(b"new")

    monkeypatch.setattr("opendalfs_cli.copies.transfer", transfer)
    assert run("mv", local, f"memory://{uuid4().hex}").exit_code == 0
    assert content(local) == {"new.csv": b"new"}


def test_mv_to_a_service_refuses_links_to_directories(run: Run, local: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept.csv").write_bytes(b"kept")
    (Path(local) / "link").symlink_to(tmp_path / "elsewhere")
    result = run("mv", local, f"memory://{uuid4().hex}")
    assert result.exit_code == 1
    assert "is a link" in result.stderr
    assert (tmp_path / "elsewhere" / "kept.csv").read_bytes() == b"kept"
    assert FILES.items() <= content(local).items()


def test_names_cannot_lead_out_of_the_target(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listed(fs: Any, path: str, *args: Any) -> dict[str, Any]:
        return {f"{path}/../../evil": {"name": f"{path}/../../evil", "type": "file", "size": 4}}

    opendalfs.filesystem("memory").pipe_file("odd/lake/a", b"evil")
    monkeypatch.setattr(transfers, "list_tree", listed)
    result = run("cp", "-r", "memory://odd/lake", str(tmp_path / "in" / "side"))
    assert result.exit_code == 1
    assert "outside of the target" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_options_are_not_sent_to_a_second_server(run: Run) -> None:
    result = run("cp", "s3://b/k", "webdav://host/k", "-o", "key=k", "-o", "secret=T0PSECRET")
    assert result.exit_code == 2
    assert "--from-option" in result.stderr
    assert run("cp", "webdav://one/k", "webdav://two/k", "-o", "password=T0PSECRET").exit_code == 2


def test_each_side_has_its_own_options(run: Run, local: str) -> None:
    result = run("cp", f"{local}/a.csv", "memory://sided/a.csv", "--to-option", "retries=1")
    assert result.output == ""
    result = run("cp", f"{local}/a.csv", "memory://sided/b.csv", "--from-option", "regoin=x")
    assert result.exit_code == 1
    assert "fs has no option 'regoin'" in result.stderr
