"""The group of all commands, which turns errors into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import click

import opendalfs

from . import arguments as given
from .benching import bench
from .caching import cache
from .content import cat, head
from .copies import cp, mv
from .doctor.command import doctor
from .failures import describe, redacted
from .listings import du, find, ls, tree
from .output import prepare_streams, shown
from .parquet import parquet
from .removal import rm
from .serving import serve
from .signing import sign
from .tracing import trace

__all__ = ["Program", "main", "program"]

INTERRUPTED: Final = 130
CLOSED_PIPE: Final = 141
"""128 and the number of the signal, as shells report the end by SIGINT and by SIGPIPE."""


class _ClosedPipe(Exception):
    """Raised if the reader of the output has closed it."""


class Program(click.Group):
    """A group of commands that reports an error in one line, without a traceback."""

    running = ""
    """Name of the command that runs, for messages."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name, and note its name for messages."""
        name, command, rest = super().resolve_command(ctx, args)
        self.running = name or ""
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; click itself would take a closed output for a failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as exc:
            raise _ClosedPipe from exc

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command of the arguments and exit; with ``standalone_mode=False``, return the exit code."""
        self.running = ""
        given.reset()
        code = self._run(args, prog_name, complete_var, extra)
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(
        self,
        args: Sequence[str] | None,
        prog_name: str | None,
        complete_var: str | None,
        extra: dict[str, Any],
    ) -> int:
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.Abort:
            return INTERRUPTED
        except (BrokenPipeError, _ClosedPipe):
            _discard_output()
            return CLOSED_PIPE
        except click.UsageError as exc:
            # Arguments may contain a secret, in a wrong place.
            self._report(redacted(exc.format_message()))
            hint = f"opendalfs {self.running}".strip()
            click.echo(f"Try '{hint} --help'.", err=True)
            return exc.exit_code
        except Exception as exc:
            message, code = describe(exc)
            if given.debug():
                for line in redacted("".join(traceback.format_exception(exc))).rstrip().split("\n"):
                    click.echo(shown(line, on_terminal=True), err=True)
            self._report(message)
            _end_output()
            return code
        return result if isinstance(result, int) else 0

    def _report(self, message: str) -> None:
        name = f"opendalfs {self.running}".strip()
        with suppress(BrokenPipeError):
            # On any output: names of others must not add lines to a log either.
            click.echo(shown(f"{name}: {message}", on_terminal=True), err=True)


def _end_output() -> None:
    """Write what is buffered, after an error, which may have been that the output cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()


def _discard_output() -> None:
    """Send what is still buffered nowhere, as the interpreter would fail to write it at its exit."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["--help"]},
    help=(
        "Work with files of every service that Apache OpenDAL supports.\n\n"
        "A URL is opendal+s3://bucket/key, or s3://bucket/key for short; a path without :// is local. "
        "Options of a service are passed with -o name=value, or come from the environment and from the "
        "configuration of fsspec, as in Python."
    ),
    epilog="Exit codes: 0 success, 1 failure, 2 wrong arguments, 3 not found, 130 Ctrl-C.",
)
@click.version_option(opendalfs.__version__, prog_name="opendalfs")
@given.debug_option
def program() -> None:
    """Do nothing: the commands do all."""


for _command in (
    ls,
    tree,
    du,
    find,
    cat,
    head,
    cp,
    mv,
    rm,
    sign,
    parquet,
    trace,
    bench,
    doctor,
    serve,
    cache,
):
    program.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `opendalfs`.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments without the name of the program; by default those of the process.

    Returns
    -------
    int
        The exit status: 0 for success, 1 for a failure, 2 for wrong arguments, 3 if something was not found,
        130 after Ctrl-C, 141 if the reader of the output has closed it.

    Raises
    ------
    SystemExit
        For a completion that a shell requests.

    Examples
    --------
    >>> import opendalfs, opendalfs_cli
    >>> opendalfs.filesystem("memory").pipe_file("reports/a.csv", b"hello")
    >>> opendalfs_cli.main(["ls", "-l", "memory://reports/a.csv"])  # doctest: +ELLIPSIS
                  5  ...  a.csv
    0
    """
    if arguments is None:
        prepare_streams()
    return int(program.main(arguments, prog_name="opendalfs", standalone_mode=False))
