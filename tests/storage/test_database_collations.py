"""What docs/services.md says of the collation of keys in MariaDB."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

import opendalfs
from opendalfs.testing import MariaDB
from opendalfs.testing.server import HOST, require_program

pytestmark = pytest.mark.services

COLUMNS = {"plain": "", "binary": "character set utf8mb4 collate utf8mb4_bin"}


@pytest.fixture
def filesystem(mysql_server: MariaDB) -> Any:
    """Return a function that returns the filesystem of a table."""
    client = [require_program("mariadb", "apt-get install mariadb-client"), "--no-defaults", "-h", HOST]
    login = ["-P", str(mysql_server.port), "-utester", "-ptester", "objects"]
    for name, collation in COLUMNS.items():
        columns = f"`key` varchar(255) {collation} primary key, `value` longblob"
        make = f"create or replace table {name}_keys ({columns})"
        subprocess.run([*client, *login, "-e", make], check=True)
    return lambda table: opendalfs.filesystem(
        "mysql", skip_instance_cache=True, **{**mysql_server.options, "table": table}
    )


def test_the_collation_of_the_page_distinguishes_keys_by_case_and_lists_them(filesystem: Any) -> None:
    fs = filesystem("objects")
    fs.pipe({"collation/Case": b"1", "collation/case": b"2"})
    assert fs.cat(["collation/Case", "collation/case"]) == {"collation/Case": b"1", "collation/case": b"2"}
    assert fs.find("collation") == ["collation/Case", "collation/case"]


def test_with_the_default_collation_one_key_replaces_the_other(filesystem: Any) -> None:
    fs = filesystem("plain_keys")
    fs.pipe_file("Case", b"1")
    assert fs.exists("case")
    fs.pipe_file("case", b"2")
    assert fs.cat_file("Case") == b"2"


def test_a_binary_collation_distinguishes_keys_by_case_and_has_no_listing(filesystem: Any) -> None:
    fs = filesystem("binary_keys")
    fs.pipe_file("a/Case", b"1")
    assert not fs.exists("a/case")
    with pytest.raises(OSError, match="list on mysql"):
        fs.find("a")
