"""Changes through DuckDB's filesystem end the use of what the filesystem below has cached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import opendalfs
from opendalfs.testing import Request, Response, S3Server, ScriptedServer
from opendalfs_duckdb.filesystem import DuckDBFileSystem


def test_a_directory_that_is_created_or_removed_is_seen_at_once(tmp_path: Path) -> None:
    fs = opendalfs.filesystem("fs", use_listings_cache=True, skip_instance_cache=True)
    duck = DuckDBFileSystem(fs)
    assert fs.ls(tmp_path) == []
    duck.mkdir(f"opendal+fs://{tmp_path}/d")
    assert fs.ls(tmp_path, detail=False) == [f"{tmp_path}/d"]
    duck.rmdir(f"opendal+fs://{tmp_path}/d")
    assert fs.ls(tmp_path) == []


CHANGES: dict[str, Callable[[DuckDBFileSystem, str], None]] = {
    "rm": lambda duck, url: duck.rm(f"{url}/a"),
    "rm recursive": lambda duck, url: duck.rm(url, recursive=True),
    "mv": lambda duck, url: duck.mv(f"{url}/a", f"{url}-moved/a"),
    "touch": lambda duck, url: duck.touch(f"{url}/a"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_failed_may_have_been_made(name: str, s3_server: S3Server, prefix: str) -> None:
    def respond(request: Request) -> Response:
        response = request.forward(s3_server.options["endpoint_url"])
        changes = request.method == "DELETE" or "delete" in request.target
        changes = changes or (name == "touch" and request.method == "PUT")
        return Response(500) if changes else response

    opendalfs.filesystem("s3", **s3_server.options).pipe_file(f"{prefix}/d/a", b"a")
    with ScriptedServer(respond) as server:
        options: dict[str, Any] = {**s3_server.options, "endpoint_url": server.endpoint}
        fs = opendalfs.filesystem("s3", **options, retries=0, use_listings_cache=True)
        assert [info["size"] for info in fs.ls(f"{prefix}/d")] == [1]
        duck = DuckDBFileSystem(fs)
        assert duck.size(f"opendal+s3://{prefix}/d/a") == 1
        with pytest.raises(OSError, match=r"\S"):
            CHANGES[name](duck, f"opendal+s3://{prefix}/d")
        if name == "touch":
            assert [info["size"] for info in fs.ls(f"{prefix}/d")] == [0]
            assert duck.size(f"opendal+s3://{prefix}/d/a") == 0
        else:
            assert not fs.exists(f"{prefix}/d/a")
            assert not duck.isfile(f"opendal+s3://{prefix}/d/a")
