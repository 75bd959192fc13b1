"""What works in processes that fork: the recipes of docs/beyond_one_machine.md."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import opendalfs
from opendalfs.testing import S3Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
import fsspec
import opendalfs
sys.path.append({root!r})

fs = opendalfs.filesystem("s3", **{options!r})
path = {path!r}


def spawned(function, *arguments):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def by_s3fs(options, path):
    return fsspec.filesystem("s3", **options).cat_file(path)


def forked(work):
    "Print what a child prints that os.fork has started, as gunicorn, Celery and Airflow start theirs."
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            print(work())
        except opendalfs.ForkError:
            print("ForkError")
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
"""


class Programs:
    """Runs a program with ``fs`` and ``path`` in its own interpreter, from a file, as spawn needs it."""

    def __init__(self, folder: Path, server: S3Server, path: str) -> None:
        self.folder, self.path = folder, path
        self.setup = PROGRAM.format(root=str(ROOT), options=server.options, path=path)

    def run(self, code: str) -> list[str]:
        program = self.folder / "program.py"
        program.write_text(self.setup + textwrap.indent(textwrap.dedent(code), "    "))
        # From 3.12 on Python warns of each fork of a process with threads.
        quiet = ["-W", "ignore::DeprecationWarning"]
        done = subprocess.run(
            [sys.executable, *quiet, str(program)], capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()


@pytest.fixture
def programs(s3_server: S3Server, prefix: str, tmp_path: Path) -> Programs:
    path = f"{prefix}/object"
    opendalfs.filesystem("s3", **s3_server.options).pipe_file(path, b"x" * 1000)
    return Programs(tmp_path, s3_server, path)


# multiprocessing


@pytest.mark.parametrize("method", [None, "forkserver"], ids=["default", "forkserver"])
def test_a_pool_of_multiprocessing_reads_unless_it_forks(programs: Programs, method: str | None) -> None:
    """From Python 3.14 on forkserver is the default on Linux."""
    output = programs.run(f"""
        multiprocessing.set_start_method({method!r})
        print(len(fs.cat_file(path)), multiprocessing.get_start_method())
        try:
            with multiprocessing.Pool(2) as pool:
                print([len(content) for content in pool.map(fs.cat_file, [path] * 2)])
        except opendalfs.ForkError:
            print("ForkError")
    """)
    started = output[1]
    assert output[0] == "1000"
    if method or sys.version_info >= (3, 14):
        assert started == "forkserver"
    assert output[2:] == (["ForkError"] if started == "fork" else ["[1000,", "1000]"])


# Data loaders


@pytest.mark.services
def test_a_data_loader_reads_in_workers(programs: Programs) -> None:
    output = programs.run("""
        from tests.clusters.loader import Objects, load

        dataset = Objects(fs, [path] * 3)
        print(*map(len, load(dataset, "fork")))  # the parent has not used storage yet
        print(len(dataset[0]))
        print(*map(len, load(dataset, "forkserver")))
        print(*load(dataset, "fork"))
    """)
    assert output == ["1000"] * 7 + ["ForkError"] * 3


# Servers that load the application and then fork: gunicorn with preload_app, Celery, Airflow


def test_children_read_if_the_parent_constructed_the_filesystem_only(programs: Programs) -> None:
    assert programs.run("forked(lambda: len(fs.cat_file(path)))") == ["1000"]


def test_children_read_after_the_parent_had_another_process_read(programs: Programs) -> None:
    output = programs.run("""
        print(len(spawned(fs.cat_file, path)))
        forked(lambda: len(fs.cat_file(path)))
        forked(lambda: len(fs.cat_file(path)))
    """)
    assert output == ["1000", "1000", "1000"]


# Children of a process that has used storage


@pytest.mark.services
def test_a_forked_child_reads_through_a_spawned_process(programs: Programs) -> None:
    output = programs.run("""
        fs.cat_file(path)
        forked(lambda: len(fs.cat_file(path)))
        forked(lambda: len(spawned(fs.cat_file, path)))
    """)
    assert output == ["ForkError", "1000"]


@pytest.mark.services
def test_daemonic_children_read_through_a_server_of_the_parent(programs: Programs) -> None:
    """Any client of S3 can be used in the children, if the parent has not used it."""
    output = programs.run("""
        folder, _, name = path.rpartition("/")
        fs.cat_file(path)
        with opendalfs.serve(fs, path=folder) as server:
            task = (server.storage_options("s3fs"), f"{server.bucket}/{name}")
            with multiprocessing.get_context("fork").Pool(2) as pool:
                contents = pool.starmap(by_s3fs, [task] * 4)
        print(*map(len, contents), len(fs.cat_file(path)))
    """)
    assert output == ["1000"] * 5


@pytest.mark.services
def test_a_forked_child_reads_a_signed_url(programs: Programs) -> None:
    output = programs.run("""
        import urllib.request

        fs.cat_file(path)
        url = fs.sign(path, expiration=60)
        forked(lambda: len(urllib.request.urlopen(url).read()))
    """)
    assert output == ["1000"]
