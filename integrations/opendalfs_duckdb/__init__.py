"""A filesystem for DuckDB over OpenDAL.

::

    import duckdb, opendalfs_duckdb

    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", region="eu-central-1", replace=True)
    con.sql("SELECT count(*) FROM 'opendal+s3://lake/events/**/*.parquet'")

``con.register_filesystem(opendalfs.duckdb("s3", ...))`` does the same, but does not turn on DuckDB's caches,
and does not interrupt queries when the interpreter exits.

A registration is for one database. In another one, such as that of ``duckdb.sql``, ``opendal+s3://...`` is a
local path, and DuckDB's error is 'No files found that match the pattern' or 'Cannot open file': register the
filesystem there, too.

For DuckDB 2.0. DuckDB 1.5 reads correctly, but cannot ATTACH a file or OVERWRITE a folder here, and a failed
COPY to a new compressed text file leaves that file.
"""

from __future__ import annotations

from .filesystem import DuckDBFileSystem
from .registration import duckdb, register, unregister

__all__ = ["DuckDBFileSystem", "duckdb", "register", "unregister"]
