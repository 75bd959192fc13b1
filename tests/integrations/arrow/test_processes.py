"""Exits, forks and new processes during reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from subprocess import CompletedProcess

import pyarrow.parquet as pq
import pytest

from opendalfs.testing import S3Server
from tests.integrations.arrow.places import Place, numbers, run_python, s3_place

HEAD = """
import sys, os, opendalfs, pyarrow as pa, pyarrow.dataset as ds, pyarrow.parquet as pq
root, endpoint, key, secret = sys.argv[1:5]
fs = opendalfs.arrow("s3", endpoint=endpoint, region="us-east-1", key=key, secret=secret)
data = ds.dataset(root, filesystem=fs)
"""

EXITS = {
    "head": "assert data.head(10).num_rows == 10",
    "batches": "batches = data.to_batches(); next(batches)",
    "count": "data.count_rows()",
    "file": "f = pq.ParquetFile(root + '/00.parquet', filesystem=fs, pre_buffer=False); f.read_row_group(0)",
    "stream": "s = fs.open_input_stream(root + '/00.parquet'); s.read(5_000_000)",
}


@pytest.fixture(scope="module")
def folder(s3_server: S3Server) -> Place:
    place = s3_place(s3_server)
    for i in range(20):
        pq.write_table(
            numbers(60_000, 4, seed=i),
            place.path(f"{i:02}.parquet"),
            filesystem=place.fs,
            row_group_size=10_000,
            compression="none",
        )
    return place


def run(code: str, place: Place, server: S3Server, *args: str) -> CompletedProcess[str]:
    return run_python(
        HEAD + code, place.root, server.endpoint, server.access_key, server.secret_key, *args, timeout=90
    )


@pytest.mark.timeout(300)
def test_an_exit_amid_reads_is_clean(folder: Place, s3_server: S3Server) -> None:
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda code: run(code, folder, s3_server), EXITS.values()))
    assert [(r.returncode, r.stdout, r.stderr) for r in results] == [(0, "", "")] * len(EXITS)


def test_a_forked_child_gets_an_error_at_once(folder: Place, s3_server: S3Server) -> None:
    result = run(
        """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
data.head(10)
opened = pq.ParquetFile(root + "/00.parquet", filesystem=fs)
stream = fs.open_input_stream(root + "/01.parquet")
stream.read(10)
attempts = {
    "info": lambda: fs.get_file_info(root + "/00.parquet"),
    "list": lambda: fs.get_file_info(pa.fs.FileSelector(root)),
    "open": lambda: fs.open_input_file(root + "/02.parquet").read(),
    "opened": lambda: opened.read(),
    "stream": lambda: stream.read(10_000_000),
    "write": lambda: pq.write_table(pa.table({"x": [1]}), root + "/new.parquet", filesystem=fs),
}
sys.stdout.flush()
for name, attempt in attempts.items():
    child = os.fork()
    if child == 0:
        try:
            attempt()
        except opendalfs.ForkError as error:
            os._exit(0 if "spawn" in str(error) else 1)
        except BaseException as error:
            print(name, repr(error), flush=True)
            os._exit(2)
        os._exit(3)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
""",
        folder,
        s3_server,
    )
    assert result.returncode == 0, result.stderr
    names = ("info", "list", "open", "opened", "stream", "write")
    assert result.stdout.split("\n")[:-1] == [f"{name} 0" for name in names]


def test_a_fork_before_any_use_is_fine(folder: Place, s3_server: S3Server) -> None:
    result = run_python(
        """
        import os, sys, pickle, opendalfs, pyarrow.dataset as ds
        root, endpoint, key, secret = sys.argv[1:5]
        fs = opendalfs.arrow("s3", endpoint=endpoint, region="us-east-1", key=key, secret=secret)
        child = os.fork()
        rows = ds.dataset(root, filesystem=fs).count_rows()
        if child == 0:
            os._exit(0 if rows == 1_200_000 else 1)
        print(rows, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        folder.root,
        s3_server.endpoint,
        s3_server.access_key,
        s3_server.secret_key,
    )
    assert (result.returncode, result.stdout) == (0, "1200000 0\n"), result.stderr


def test_a_thread_that_outlives_the_main_one_reads_to_its_end(folder: Place, s3_server: S3Server) -> None:
    result = run(
        """
import threading
from opendalfs import filesystem
core = filesystem("s3", endpoint=endpoint, region="us-east-1", key=key, secret=secret)
def work():
    threading.main_thread().join()
    path = root + "/00.parquet"
    size = fs.get_file_info(path).size
    ranges = core.cat_ranges([path] * 3, [0, 4, 1_000_000], [4, 8, 1_900_000])
    whole = len(core.cat_file(path)) == size
    print(pq.read_table(root, filesystem=fs).num_rows, [len(r) for r in ranges], whole)
threading.Thread(target=work).start()
""",
        folder,
        s3_server,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == "1200000 [4, 4, 900000] True"
