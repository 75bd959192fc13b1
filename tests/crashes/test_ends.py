"""Processes that end in the middle of an operation: files are old or new, nothing else shows, nothing hangs.

Each cell is an operation, an end of its process, a service, and the moment of the end. The moment is certain:
a server holds the request, or the process holds itself before the call to the local disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opendalfs
from opendalfs.storage.staged_files import is_staged_name
from opendalfs.testing import S3Server
from tests.crashes.harness import PATIENCE, Child, Hold, order_for
from tests.crashes.operations import (
    CHUNK,
    NEW,
    OLD,
    OPERATIONS,
    READS,
    WRITES,
    Files,
    content,
    digest,
    rows_digest,
    table,
)

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="sends signals and forks"),
    pytest.mark.timeout(300),
]

ENDS = {"kill": -9, "interrupt": None, "end": 0, "exit": 3, "os_exit": 4, "fork": 0}
"""How processes end, and their status."""

ENGINES = {"duckdb_copy", "polars_sink"}
"""Writes from threads of an engine."""

PUBLISHED = {"put answered", "completed", "published"}
"""The moments at which the new file is there."""


class Cell(NamedTuple):
    operation: str
    service: str
    moment: str
    end: str
    before: str = "old"
    """Whether there is an old target, or none: ``"absent"``."""

    def __str__(self) -> str:
        return "-".join(self).replace(" ", "_")

    @property
    def renames(self) -> bool:
        """Whether DuckDB writes to ``tmp_<name>``, and renames that, as it does over an existing file."""
        return self.operation == "duckdb_copy" and self.before == "old"

    @property
    def states(self) -> set[str]:
        """The states of the target that are right after the end."""
        if self.end == "fork" or (self.moment in PUBLISHED and not self.renames):
            return {"new"}
        # An engine may write on for a moment before it looks for an interrupt, and the rename that ends a
        # download has begun.
        engine = self.service == "fs" and self.end == "interrupt" and self.operation in ENGINES
        rename = self.operation == "get" and self.moment == "publish" and self.end not in ("kill", "os_exit")
        return {self.before, "new"} if engine or rename else {self.before}


def moments(operation: str, service: str) -> list[str]:
    if operation == "dataset_scan" and service == "fs":
        # pyarrow opens local files by itself.
        return []
    if operation in READS:
        # `cat` reads an object of unknown size by one request.
        several = ["second read"] * (operation != "cat")
        found = ["first", *several, "body"] if service == "s3" else ["first", "second"]
        return found + ["publish", "published"] * (operation == "get")
    if service == "fs":
        return ["part", "publish", "published"]
    return (
        ["first", "put", "put answered"]
        if operation == "pipe"
        else ["first", "part", "complete", "completed"]
    )


CELLS = [
    Cell(operation, service, moment, end, before)
    for operation in OPERATIONS
    for service in ("s3", "fs")
    for moment in moments(operation, service)
    for end in ENDS
    for before in ("old", "absent")
    # Without an old target there is less to lose: only the ends that say most.
    if before == "old" or (operation in (*WRITES, "get") and end in ("kill", "exit") and moment != "first")
]

FAST = {
    Cell("put", "s3", "part", "kill"),
    Cell("open_wb", "s3", "complete", "os_exit"),
    Cell("write_table", "s3", "completed", "kill", "absent"),
    Cell("duckdb_copy", "s3", "part", "exit"),
    Cell("polars_sink", "s3", "part", "fork"),
    Cell("open_wb", "fs", "publish", "kill"),
    Cell("get", "s3", "body", "kill"),
    Cell("dataset_scan", "s3", "second read", "interrupt"),
}


def marked(cell: Cell) -> Any:
    return pytest.param(cell, id=str(cell), marks=[] if cell in FAST else pytest.mark.faults)


@pytest.fixture
def files(request: pytest.FixtureRequest, cell: Cell, tmp_path: Path) -> Files:
    """Return the files of a cell: an old target, and the source."""
    for folder in ("source", "target"):
        (tmp_path / "local" / folder).mkdir(parents=True)
    if cell.service == "fs":
        made = Files("fs", {}, str(tmp_path / "fs"), str(tmp_path / "local"))
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        prefix = request.getfixturevalue("prefix")
        made = Files("s3", server.options, prefix, str(tmp_path / "local"))
    if cell.before == "old":
        made.fs.pipe_file(made.target, content(OLD))
        made.downloaded.write_bytes(content(OLD))
    pq.write_table(
        table(NEW), made.uploaded, compression="none", use_dictionary=False, row_group_size=200_000
    )
    made.fs.put_file(str(made.uploaded), made.source)
    return made


def state_of(operation: str, data: bytes) -> str:
    """Return whether the bytes of a target are the old, the new, or wrong ones."""
    if data == content(OLD):
        return "old"
    if operation == "pipe":
        return "new" if data == content(NEW)[: CHUNK // 2] else "wrong"
    if operation == "open_wb":
        return "new" if data == content(NEW) else "wrong"
    try:
        rows = pq.read_table(pa.BufferReader(data))
    except (OSError, pa.ArrowInvalid):
        return "wrong"
    return "new" if rows_digest(rows) == digest(content(NEW)) else "wrong"


def target_state(cell: Cell, files: Files) -> str:
    try:
        if cell.operation in WRITES:
            return state_of(cell.operation, fresh(files).cat_file(files.target))
        return state_of(cell.operation, files.downloaded.read_bytes())
    except FileNotFoundError:
        return "absent"


def fresh(files: Files) -> opendalfs.OpendalFileSystem:
    """Return a filesystem that has cached nothing."""
    return type(files.fs)(**files.options, skip_instance_cache=True)


def names(paths: Iterable[str]) -> set[str]:
    return {path.rpartition("/")[2] for path in paths}


def visible_in_storage(files: Files, server: S3Server | None) -> tuple[set[str], set[str]]:
    """Return the names that listings show in the target's folder, and those that the storage has."""
    fs, folder = fresh(files), files.target.rpartition("/")[0]
    shown = names(fs.find(folder))
    assert names(fs.glob(f"{folder}/*")) == shown
    assert names(fs.ls(folder, detail=False) if fs.exists(folder) else []) == shown
    if server is None:
        return shown, set(os.listdir(folder)) if os.path.isdir(folder) else set()
    bucket, _, prefix = folder.partition("/")
    found = server.client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    return shown, names(entry["Key"] for entry in found)


def check_names(cell: Cell, files: Files, server: S3Server | None, state: str) -> set[str]:
    """Check that only the target shows; return the staged files on local disks."""
    shown, stored = visible_in_storage(files, server)
    local = set(os.listdir(files.downloaded.parent))
    target = {files.downloaded.name}
    if cell.operation in WRITES:
        assert shown == (set() if state == "absent" else target)
    else:
        assert local - target == {name for name in local if is_staged_name(name)}
    hidden = (stored | local) - target
    assert all(map(is_staged_name, hidden)), hidden
    return hidden


def end_child(cell: Cell, files: Files, server: S3Server | None) -> tuple[int, Child]:
    """Run the operation in a process, and end it at the moment; return its status."""
    if server is None or cell.moment in ("publish", "published"):
        with Child(order_for(files, cell.operation, cell.end, cell.moment)) as child:
            child.wait_for("reached")
            return child.end(cell.end), child
    folder = (files.target if cell.operation in WRITES else files.source).rpartition("/")[0]
    with Hold(server.endpoint, cell.moment, folder) as hold:
        child = Child(order_for(files, cell.operation, cell.end, "", hold.server.endpoint))
        hold.reached = child.lines
        with child:
            child.wait_for("reached")
            if cell.end != "fork":
                return child.end(cell.end), child
            child.command()
            child.said.append("forked " + child.wait_for("forked"))
            hold.released.set()
            return child.process.wait(PATIENCE), child


@pytest.mark.parametrize("cell", [marked(cell) for cell in CELLS])
def test_a_process_that_ends_amid_an_operation(
    request: pytest.FixtureRequest, cell: Cell, files: Files
) -> None:
    server: S3Server | None = request.getfixturevalue("s3_server") if cell.service == "s3" else None
    status, child = end_child(cell, files, server)
    if not is_ended_in_pyarrow(cell, child):
        expected = ENDS[cell.end]
        assert status == expected if expected is not None else status != 0, child.errors
        assert "Fatal" not in child.errors
    state = ""
    changes = cell.operation in (*WRITES, "get")
    if changes:
        state = target_state(cell, files)
        assert state in cell.states
    if cell.renames and cell.moment in PUBLISHED and cell.end != "fork":
        remove_renamed(files)
    hidden = check_names(cell, files, server, state)
    if cell.end in ("interrupt", "fork"):
        assert hidden == set(), child.errors
    result = OPERATIONS[cell.operation](files)
    if cell.end == "fork":
        # Reads of local disks may need no event loop, and then work in the forked process.
        assert {"forked 7,0", "forked 8,0"[: 10 * (cell.service == "fs")]} & {*child.said}, child.said
        assert f"done {result}" in child.said, child.said
    if changes:
        assert target_state(cell, files) == "new"
    assert check_names(cell, files, server, "new") == set()


def is_ended_in_pyarrow(cell: Cell, child: Child) -> bool:
    """Whether Python aborted as it ended a daemon thread inside pyarrow.

    Up to 3.13, Python ends such threads when they ask for the GIL, which C++ functions that called back into
    Python do not survive; see docs/interrupted_writes.md.
    """
    return (
        cell.operation in ("write_table", "dataset_scan")
        and cell.end in ("end", "exit")
        and "PyGILState_Release" in child.errors
    )


def remove_renamed(files: Files) -> None:
    """Remove the file that DuckDB had yet to rename, and check that it is complete."""
    folder, _, name = files.target.rpartition("/")
    path = f"{folder}/tmp_{name}"
    if fresh(files).exists(path):
        assert state_of("duckdb_copy", fresh(files).cat_file(path)) == "new"
        fresh(files).rm_file(path)
