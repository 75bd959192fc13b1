"""The command `opendalfs`, also as ``python -m opendalfs``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import opendalfs
from opendalfs.errors import redact

__all__ = ["main"]

_EXAMPLE = """example:
  opendalfs serve opendal+s3://my-bucket/lake -o region=eu-central-1
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments without the name of the program; by default those of the process.

    Returns
    -------
    int
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="opendalfs", description=opendalfs.__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve",
        help="serve a directory of any service as a bucket of S3",
        description="Serve a directory of any service as a bucket of S3, until Ctrl-C.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument("url", help="opendal+<service>://..., or a path of the local disk")
    serve.add_argument("--writable", action="store_true", help="let clients write and remove objects")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    serve.add_argument("--bucket", default="opendalfs", help="name of the bucket (default: %(default)s)")
    serve.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the service; may be repeated",
    )
    return _serve(parser, parser.parse_args(arguments))


def _serve(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    options: dict[str, Any] = {}
    for text in given.option:
        name, mark, value = text.partition("=")
        if not mark:
            parser.error("an option is written NAME=VALUE: -o region=eu-central-1")
        options[name] = value
    try:
        server = opendalfs.serve(
            given.url,
            writable=given.writable,
            host=given.host,
            port=given.port,
            bucket=given.bucket,
            **options,
        )
    except (OSError, ValueError, ImportError) as exc:
        sys.stderr.write(f"opendalfs serve: {exc}\n")
        return 1
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with server:
        mode = "reads and writes" if given.writable else "reads only: --writable lets clients write"
        sys.stdout.write(f"# {server.url} serves {redact(given.url)} ({mode})\n")
        for name, value in (
            ("AWS_ENDPOINT_URL", server.endpoint),
            ("AWS_ACCESS_KEY_ID", server.access_key),
            ("AWS_SECRET_ACCESS_KEY", server.secret_key),
            ("AWS_REGION", "us-east-1"),
        ):
            sys.stdout.write(f"export {name}={value}\n")
        sys.stdout.flush()
        stopped.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
