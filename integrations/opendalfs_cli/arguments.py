"""Options that several commands have, and what they have set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from opendalfs.options import is_secret

__all__ = [
    "debug",
    "debug_option",
    "human_option",
    "json_option",
    "reset",
    "secrets",
    "storage_command",
    "storage_options",
]

F = TypeVar("F", bound=Callable[..., Any])

_SECRET_NAMES = frozenset({"secret"})
"""Names of other libraries for options with secrets, beside those that OpenDAL has."""

_secrets: set[str] = set()
_debug = False


def reset() -> None:
    """Forget what the options of an earlier command have set."""
    global _debug
    _debug = False
    _secrets.clear()


def debug() -> bool:
    """Whether tracebacks are shown."""
    return _debug


def secrets() -> tuple[str, ...]:
    """Return the secrets among the options, the longest first."""
    return tuple(sorted(_secrets, key=len, reverse=True))


def _set_debug(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    global _debug
    _debug = _debug or value


def _parse(_ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Return the options as a dict. No message contains a value, as it may be a secret."""
    options: dict[str, str] = {}
    for text in values:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise click.UsageError(f"{param.opts[0]} takes NAME=VALUE, such as: -o region=eu-central-1")
        name = name.strip().replace("-", "_")
        if name == "source":
            raise click.UsageError(f"{param.opts[0]} takes no source: the URL names the storage")
        options[name] = value
        if (name in _SECRET_NAMES or is_secret(name)) and len(value) > 3:
            _secrets.add(value)
    return options


def debug_option(function: F) -> F:
    """Add ``--debug``."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )(function)


def storage_options(*names: str, help: str) -> Callable[[F], F]:
    """Add an option that takes options of a service, as NAME=VALUE, and may be repeated."""

    def add(function: F) -> F:
        return click.option(*names, multiple=True, metavar="NAME=VALUE", callback=_parse, help=help)(function)

    return add


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


def human_option(function: F) -> F:
    """Add ``--human``."""
    return click.option("-h", "--human", is_flag=True, help="Print sizes with units: 1.2 MB.")(function)


def storage_command(name: str, *, epilog: str = "") -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command with ``-o`` and ``--debug``; the docstring of the function is its help."""

    def make(function: Callable[..., Any]) -> click.Command:
        add = storage_options(
            "-o",
            "--option",
            "options",
            help="An option of the service, such as region=eu-central-1; repeatable.",
        )
        return click.command(name, epilog=epilog or None)(debug_option(add(function)))

    return make
