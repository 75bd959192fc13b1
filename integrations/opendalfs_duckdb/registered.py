"""Finds the filesystem that a DuckDB database has under a name; DuckDB itself lists only names.

A query lists a URL with a random path, which no other code knows, and the filesystem that DuckDB calls for it
answers in place of its storage.
"""

from __future__ import annotations

import itertools
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["answer", "find"]

_MARK: Final = f"://opendalfs-{token_hex(16)}-"
_numbers: Final = itertools.count()
_answers: dict[str, Any] = {}


def find(con: DuckDBPyConnection, name: str) -> Any:
    """Return the filesystem of ours that a database has under a name; None if it has none.

    Parameters
    ----------
    con : DuckDBPyConnection
        Any connection to the database.
    name : str
        The name that DuckDB lists, which is the first URL scheme of the filesystem.
    """
    url = f"{name}{_MARK}{next(_numbers)}"
    # On a cursor, as the last result of the connection may still be read.
    with con.cursor() as cursor:
        cursor.execute(f"FROM glob('{url}')").fetchall()
    return _answers.pop(url, None)


def answer(fs: object, url: str) -> bool:
    """Whether `find` has requested a URL; if so, record that this filesystem was called for it."""
    if _MARK not in url:
        return False
    _answers[url] = fs
    return True
