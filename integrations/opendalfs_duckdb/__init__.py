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

For DuckDB 2.0. An older one is an ImportError, because it may lose data here: 1.5 removes the object that a
COPY to ``s3://`` refused to replace, and 1.5.0 to 1.5.2 lose compressed text that they write.
"""

from __future__ import annotations

from opendalfs import installation

installation.require("duckdb")

from .filesystem import DuckDBFileSystem
from .registration import duckdb, register, unregister

__all__ = ["DuckDBFileSystem", "duckdb", "register", "unregister"]
