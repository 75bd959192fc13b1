"""Data to read in tests, benchmarks and examples: the tables of TPC-H as Parquet."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from opendalfs.testing.server import require_program

__all__ = ["tpch_tables"]


def tpch_tables(
    directory: str | Path,
    scale: float = 0.1,
    *,
    tables: Sequence[str] = ("lineitem", "orders"),
    row_group: str = "64MB",
    parts: int | None = None,
) -> dict[str, Path]:
    """Write tables of TPC-H as Parquet files.

    Parameters
    ----------
    directory : str or Path
        Where to write them.
    scale : float
        Scale factor; 1 is about 6 million rows of ``lineitem``.
    tables : sequence of str
        Names of tables.
    row_group : str
        Size of a row group before compression, with its unit.
    parts : int, optional
        Number of files of each table. The default is one file.

    Returns
    -------
    dict
        By name of the table: its file, or the directory of its files where `parts` is given.

    Raises
    ------
    ServerUnavailable
        ``tpchgen-cli`` is not installed.
    subprocess.CalledProcessError
        The generator failed.

    Examples
    --------
    >>> import tempfile
    >>> import pyarrow.parquet as pq
    >>> from opendalfs.testing import tpch_tables
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     files = tpch_tables(directory, 0.01, tables=["orders"])
    ...     pq.read_metadata(files["orders"]).num_rows
    15000
    """
    generator = require_program("tpchgen-cli", "pip install tpchgen-cli")
    command = [generator, "parquet", "--scale-factor", f"{scale:g}", "--tables", ",".join(tables)]
    command += ["--compression", "ZSTD(1)", "--row-group-bytes", row_group, "--quiet"]
    if parts is not None:
        command += ["--parts", str(parts)]
    subprocess.run([*command, "--output-dir", str(directory)], check=True)
    suffix = ".parquet" if parts is None else ""
    return {table: Path(directory) / f"{table}{suffix}" for table in tables}
