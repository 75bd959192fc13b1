"""What type checkers accept and reject: `make check` reports an error that is missing as an unused ignore."""

from __future__ import annotations

import opendalfs
from opendalfs.option_types import S3Options

options: S3Options = {"region": "eu-central-1", "retries": 2, "key": None}
fs: opendalfs.S3FileSystem = opendalfs.S3FileSystem(**options)
opendalfs.S3FileSystem(endpoint_url="http://localhost:9000", anon=True, timeout=3, asynchronous=True)
opendalfs.AzblobFileSystem(account_name="lake", connection_string="...")
opendalfs.B2FileSystem(bucket_id={"lake": "id"})
opendalfs.filesystem("s3", any_option=1)
tuning = opendalfs.Tuning(retries=1)
version: str = opendalfs.__version__
try:
    with opendalfs.trace() as trace:
        requests: list[opendalfs.Request] = trace.records
except (opendalfs.NoContainerError, opendalfs.RangeError):
    pass

opendalfs.S3FileSystem(regoin="eu-central-1")  # type: ignore[call-arg]
opendalfs.S3FileSystem(bucket="lake")  # type: ignore[call-arg]
opendalfs.S3FileSystem(retries="many")  # type: ignore[arg-type]
opendalfs.FsFileSystem(root="/tmp")  # type: ignore[call-arg]
opendalfs.S4FileSystem()  # type: ignore[attr-defined]
