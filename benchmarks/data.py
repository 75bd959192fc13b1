"""TPC-H tables as Parquet: standard data, made once by ``tpchgen-cli`` and kept.

At scale 2 with row groups of 64 MB before compression, lineitem is one file of 323 MB with 13 row
groups of 16 columns, and orders one of 80 MB with 4.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.server_base import find_program
from tests.servers import S3Server

TABLES = ("lineitem", "orders")
_CACHE = Path(__file__).parents[1] / ".cache"


def tpch(scale: float, row_group: str = "64MB") -> dict[str, Path]:
    """Make TPC-H's lineitem and orders, unless a former run did.

    Parameters
    ----------
    scale : float
        Scale factor; 1 is about 6 million rows of lineitem.
    row_group : str
        Size of a row group before compression.

    Returns
    -------
    dict
        The Parquet file of each table.
    """
    directory = _CACHE / f"tpch-{scale:g}-{row_group}"
    if not directory.exists():
        _generate(directory, scale, row_group)
    return {table: directory / f"{table}.parquet" for table in TABLES}


def _generate(directory: Path, scale: float, row_group: str) -> None:
    generator = find_program("tpchgen-cli")
    if generator is None:
        raise RuntimeError("no `tpchgen-cli` here; pip install tpchgen-cli")
    directory.parent.mkdir(exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="tpch-", dir=directory.parent))
    command = [generator, "parquet", "--scale-factor", f"{scale:g}", "--tables", ",".join(TABLES)]
    layout = ["--compression", "ZSTD(1)", "--row-group-bytes", row_group]
    try:
        subprocess.run([*command, *layout, "--quiet", "--output-dir", fresh], check=True)
        # Complete or absent, also when two processes come here at once: the first one wins.
        with suppress(OSError):
            fresh.rename(directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def publish(server: S3Server, file: Path) -> str:
    """Upload a file to the server's bucket, unless it is there already.

    Parameters
    ----------
    server : S3Server
        Where to.
    file : Path
        What; its directory's name becomes part of the key.

    Returns
    -------
    str
        ``bucket/key``.
    """
    key = f"benchmarks/{file.parent.name}/{file.name}"
    found = server.client.list_objects_v2(Bucket=server.bucket, Prefix=key).get("Contents", [])
    if not any(o["Key"] == key and o["Size"] == file.stat().st_size for o in found):
        with file.open("rb") as body:
            server.client.put_object(Bucket=server.bucket, Key=key, Body=body)
    return f"{server.bucket}/{key}"
