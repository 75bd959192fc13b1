"""The command `serve`: a directory of any service as a bucket of S3."""

from __future__ import annotations

import signal
import sys
import threading

import click

import opendalfs

from .arguments import storage_command
from .failures import redacted
from .output import echo

__all__ = ["serve"]


@storage_command(
    "serve", epilog="Example: opendalfs serve opendal+s3://my-bucket/lake -o region=eu-central-1"
)
@click.argument("url")
@click.option("--writable", is_flag=True, help="Let clients write and remove objects.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, help="Port to listen on; by default any free one."
)
@click.option("--bucket", default="opendalfs", show_default=True, help="Name of the bucket.")
def serve(url: str, writable: bool, host: str, port: int, bucket: str, options: dict[str, str]) -> None:
    """Serve a directory of any service as a bucket of S3, until Ctrl-C.

    Prints the variables that clients of S3 read, with keys that are made for this server.
    """
    for name in sorted({"bucket", "host", "port", "writable"} & set(options)):
        raise click.UsageError(f"-o takes no {name} here: pass --{name}")
    server = opendalfs.serve(url, writable=writable, host=host, port=port, bucket=bucket, **options)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with server:
        mode = "reads and writes" if writable else "reads only: --writable lets clients write"
        echo(f"# {server.url} serves {redacted(url)} ({mode})")
        for name, value in (
            ("AWS_ENDPOINT_URL", server.endpoint),
            ("AWS_ACCESS_KEY_ID", server.access_key),
            ("AWS_SECRET_ACCESS_KEY", server.secret_key),
            ("AWS_REGION", "us-east-1"),
        ):
            echo(f"export {name}={value}")
        sys.stdout.flush()
        stopped.wait()
