"""DuckDB over OpenDAL: a filesystem made for the way DuckDB calls.

::

    import duckdb, opendalfs_duckdb

    con = duckdb.connect()
    opendalfs_duckdb.register(con, "s3", region="eu-central-1")
    con.sql("SELECT count(*) FROM 'opendal+s3://lake/events/**/*.parquet'")

``con.register_filesystem(opendalfs.duckdb("s3", ...))`` does the same without DuckDB's caches and without
the tidy end at exit that `register` adds.

A registration is for one database. A connection to another one, such as that of ``duckdb.sql``, takes
``opendal+s3://...`` for a local path and says 'No files found that match the pattern', or 'Cannot open file':
register the filesystem there, too.

Made for DuckDB 2.0. DuckDB 1.5 reads as right, but cannot ATTACH nor OVERWRITE a folder here, and a COPY to a
new compressed text file that fails leaves it there.
"""

from __future__ import annotations

from .filesystem import DuckDBFileSystem, duckdb
from .registration import register, unregister

__all__ = ["DuckDBFileSystem", "duckdb", "register", "unregister"]
