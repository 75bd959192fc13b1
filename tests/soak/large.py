"""One operation on a large object, and the most memory that it took: `python -m tests.soak.large ORDER`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import opendalfs
from tests.soak.usage import peak_megabytes

PIECE = 1 << 20
PART = 8 << 20
BATCH = 1_000_000


def put(fs: Any, remote: str, local: str, size: int) -> int:
    fs.put_file(local, remote)
    return int(fs.info(remote)["size"])


def get(fs: Any, remote: str, local: str, size: int) -> int:
    with open(local, "ab") as file:
        pass
    fs.get_file(remote, local)
    with open(local, "rb") as file:
        return file.seek(0, 2)


def write_stream(fs: Any, remote: str, local: str, size: int) -> int:
    """Write a Parquet file row group by row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("x", pa.int64()), ("y", pa.float64())])
    rows = 0
    with pq.ParquetWriter(
        remote, schema, filesystem=opendalfs.arrow(fs), compression="none", use_dictionary=False
    ) as writer:
        while rows * 16 < size:
            numbers = pa.array(range(rows, rows + BATCH), pa.int64())
            writer.write_table(pa.table([numbers, numbers.cast(pa.float64())], schema=schema))
            rows += BATCH
    return rows


def scan(fs: Any, remote: str, local: str, size: int) -> int:
    """Read a Parquet file batch by batch.

    With ``pre_buffer``, its default, pyarrow keeps what it has read until the end of the file; its own S3
    filesystem does the same.
    """
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    rows = total = 0
    data = ds.dataset(remote, filesystem=opendalfs.arrow(fs))
    for batch in data.to_batches(fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False)):
        rows += batch.num_rows
        total += pc.sum(batch["x"]).as_py() or 0
    assert total == rows * (rows - 1) // 2
    return rows


def read_file(fs: Any, remote: str, local: str, size: int) -> int:
    """Read a file of `open` piece by piece."""
    done = 0
    with fs.open(remote, "rb") as file:
        while piece := file.read(PIECE):
            done += len(piece)
    return done


def write_file(fs: Any, remote: str, local: str, size: int) -> int:
    """Write a file of `open` piece by piece."""
    with fs.open(remote, "wb") as file:
        for start in range(0, size, PIECE):
            file.write(bytes(min(PIECE, size - start)))
    return int(fs.info(remote)["size"])


def gateway_get(fs: Any, remote: str, local: str, size: int) -> int:
    """Read an object through the gateway with one request."""
    client, where = _client(fs, remote)
    body = client.get_object(**where)["Body"]
    done = 0
    while piece := body.read(PIECE):
        done += len(piece)
    return done


def gateway_put(fs: Any, remote: str, local: str, size: int) -> int:
    """Write an object through the gateway, in parts as Polars does."""
    client, where = _client(fs, remote)
    upload = client.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number, length in enumerate(_lengths(size), 1):
        done = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=bytes(length))
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    return int(fs.info(remote)["size"])


def _lengths(size: int) -> Iterator[int]:
    for start in range(0, size, PART):
        yield min(PART, size - start)


def _client(fs: Any, remote: str) -> tuple[Any, dict[str, str]]:
    from botocore.config import Config
    from botocore.session import Session

    from opendalfs_gateway.server import gateway

    server = gateway()
    container, _, key = remote.partition("/")
    base = urlsplit(server.mount(fs, container, write=True))
    options = server.storage_options
    client = Session().create_client(
        "s3",
        endpoint_url=options["aws_endpoint_url"],
        aws_access_key_id=options["aws_access_key_id"],
        aws_secret_access_key=options["aws_secret_access_key"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    return client, {"Bucket": base.netloc, "Key": base.path.lstrip("/") + key}


def polars_scan(fs: Any, remote: str, local: str, size: int) -> int:
    """Sum the columns of a Parquet file with Polars' streaming engine, through the gateway."""
    import polars as pl

    import opendalfs_polars

    frame = opendalfs_polars.scan_parquet(
        fs.unstrip_protocol(remote), storage_options=dict(fs.storage_options), backend="gateway"
    )
    return int(frame.select(pl.len(), pl.col("x").sum()).collect(engine="streaming").item(0, 0))


OPERATIONS = {
    function.__name__: function
    for function in (
        put,
        get,
        write_stream,
        scan,
        read_file,
        write_file,
        gateway_get,
        gateway_put,
        polars_scan,
    )
}


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    filesystem = opendalfs.filesystem("s3", **order.pop("options"))
    result = OPERATIONS[order.pop("operation")](filesystem, **order)
    print(json.dumps({"result": result, "megabytes": peak_megabytes()}))
