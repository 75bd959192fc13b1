"""Stands in for systems that lack what POSIX has, as far as one machine can: it is taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

WITHOUT_POSIX = """
import asyncio, builtins, io, os, subprocess, sys, tempfile
import pytest, _pytest.tmpdir, _pytest.faulthandler

for name in (
    "register_at_fork", "fork", "pwrite", "pwritev", "pread", "preadv", "fchmod", "fchown", "chown",
    "getuid", "geteuid", "getgid", "getegid", "getgroups", "sysconf", "statvfs", "fstatvfs", "mkfifo",
    "sendfile", "posix_fallocate", "posix_fadvise", "sched_getaffinity", "killpg", "setsid", "mknod",
):
    vars(os).pop(name, None)
os.supports_fd = set()
for name in ("fcntl", "resource", "pwd", "grp", "termios", "posix_fallocate"):
    sys.modules[name] = None

def refusing(function):
    def call(path=".", *args, **kwargs):
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return function(path, *args, **kwargs)
    return call

builtins.open = io.open = refusing(open)
os.listdir = refusing(os.listdir)
"""


def run(code: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX + code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_core_works_without_what_only_posix_has(tmp_path: Path) -> None:
    # By the way that the jobs for other systems take.
    told = run(
        """
sys.exit(pytest.main([
    "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:platformdirs",
    "--confcutdir=tests/portable", "tests/portable",
    f"--basetemp={sys.argv[1]}",
]))
""",
        tmp_path / "base",
    )
    assert " passed" in told


def test_the_packages_for_engines_work_without_what_only_posix_has() -> None:
    run(
        """
import opendalfs, opendalfs_duckdb, opendalfs_polars, pyarrow as pa, pyarrow.parquet as pq
table = pa.table({"a": list(range(1000)), "b": ["x"] * 1000})
lake = opendalfs.arrow("memory")
pq.write_table(table, "lake/t.parquet", filesystem=lake)
assert pq.read_table("lake/t.parquet", filesystem=lake).equals(table)
"""
    )
