"""The command `sign`."""

from __future__ import annotations

import re
import sys
from typing import Final

import click

from .arguments import json_option, storage_command
from .locations import open_location
from .output import echo, print_json

__all__ = ["sign"]

_SPANS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_KEY: Final = re.compile(r"customer-key$", re.I)


@storage_command("sign")
@click.argument("url")
@click.option(
    "--method",
    type=click.Choice(["GET", "HEAD", "PUT", "DELETE"], case_sensitive=False),
    default="GET",
    show_default=True,
    help="What the signed URL allows.",
)
@click.option("--expires", default="1h", show_default=True, help="When it expires: seconds, or 15m, 12h, 7d.")
@json_option
def sign(url: str, method: str, expires: str, as_json: bool, options: dict[str, str]) -> None:
    """Print a URL with which anybody can read or write one file for a time, without credentials."""
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", expires)
    if found is None:
        raise click.UsageError(f"--expires takes seconds, or a time such as 15m or 12h, not {expires!r}")
    seconds = int(found.group(1)) * _SPANS[found.group(2)]
    location = open_location(url, options)
    signed = location.fs.sign(location.path, expiration=seconds, method=method.upper())
    # The key of SSE-C is a secret that the user has, unlike the signature.
    headers = {name: "***" if _KEY.search(name) else value for name, value in signed.headers.items()}
    if as_json:
        print_json({"url": str(signed), "method": signed.method, "expires": seconds, "headers": headers})
        return
    echo(str(signed))
    if headers:
        text = ", ".join(f"{name}: {value}" for name, value in headers.items())
        sys.stderr.write(f"The request must have the headers {text}\n")
