"""Runs commands in this process, and on a terminal of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from opendalfs.testing import S3Server
from opendalfs_cli.program import program

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Return a function that runs a command as click's runner does, without a terminal."""

    def call(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(program, list(arguments), input=stdin, prog_name="opendalfs")

    return call


@pytest.fixture
def s3_options(s3_server: S3Server) -> list[str]:
    """Return the arguments that name the server and its keys."""
    options = {
        "endpoint": s3_server.endpoint,
        "key": s3_server.access_key,
        "secret": s3_server.secret_key,
        "region": s3_server.region,
    }
    return [argument for name, value in options.items() for argument in ("-o", f"{name}={value}")]
