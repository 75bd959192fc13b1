"""The command `doctor`: the steps, in their order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import click

from opendalfs.services import Locality
from opendalfs_cli.arguments import json_option, storage_command
from opendalfs_cli.failures import FAILED, describe, without_secrets
from opendalfs_cli.locations import Location, open_location
from opendalfs_cli.output import echo, print_json, shown

from . import network
from .checks import Check, failed, ok, skipped
from .diagnosis import check_credentials
from .storage import Probe

__all__ = ["doctor"]

Found = tuple[str, Check]

_PATIENCE = {"retry_timeout": "2", "timeout": "15", "io_timeout": "30"}
"""Options with which a step fails soon."""


@storage_command("doctor")
@click.argument("url")
@click.option("--write", is_flag=True, help="Also create a small object below the URL, and remove it.")
@json_option
def doctor(url: str, write: bool, as_json: bool, options: dict[str, str]) -> int:
    """Find out what does not work on the way to a URL, and which option mends it.

    Looks at options, credentials, DNS, TCP, TLS, a HEAD, the clock, a list, a ranged read, a conditional
    write (only with --write) and the speed. The exit code is 1 if a step has failed.
    """
    found: list[Found] = []
    for name, check in _steps(url, options, write):
        check = replace(check, sentence=without_secrets(check.sentence), advice=without_secrets(check.advice))
        found.append((name, check))
        if not as_json:
            _print(name, check)
    if as_json:
        print_json([{"step": name, **asdict(check)} for name, check in found])
    return FAILED if any(check.status == "failed" for _, check in found) else 0


def _print(name: str, check: Check) -> None:
    echo(f"{check.status:<8} {name:<18} {shown(check.sentence)}")
    if check.advice:
        echo(f"{'':<8} {'':<18} -> {shown(check.advice)}")
    sys.stdout.flush()


def _steps(url: str, options: dict[str, str], write: bool) -> Iterator[Found]:
    """Yield what each step finds."""
    try:
        location = open_location(url, {**_PATIENCE, **options} if "://" in url else options)
    except (OSError, ValueError) as exc:
        yield "options", failed(describe(exc)[0])
        yield from _skip(("credentials", *_NETWORK, *_STORAGE), "the options are wrong")
        return
    yield "options", ok(repr(location.fs))
    yield "credentials", check_credentials(location.fs)
    server, answer = network.server_of(location.fs), None
    if location.fs.service.locality is not Locality.REMOTE or server is None:
        yield from _skip(_NETWORK, "there is no server, or only the client of the service knows it")
    else:
        for i, (check, found) in enumerate(_network(server)):
            answer = found
            yield _NETWORK[i], check
            if check.status == "failed":
                yield from _skip((*_NETWORK[i + 1 :], *_STORAGE), "the server cannot be reached")
                return
    yield from _storage(location, answer, write)


_NETWORK = ("DNS", "TCP", "TLS")
_STORAGE = ("reach", "clock", "list", "ranged read", "conditional write", "speed")


def _skip(names: tuple[str, ...], why: str) -> Iterator[Found]:
    for name in names:
        yield name, skipped(why)


def _network(server: network.Server) -> Iterator[tuple[Check, network.Answer | None]]:
    yield network.check_address(server), None
    yield network.check_connection(server), None
    yield network.check_tls(server)


def _storage(location: Location, answer: network.Answer | None, write: bool) -> Iterator[Found]:
    probe = Probe(location)
    reached = probe.reach()
    yield "reach", reached
    clock = network.check_clock(answer)
    yield "clock", clock
    listed = probe.list()
    yield "list", listed
    refused = "failed" in (reached.status, listed.status) and not probe.file
    steps: dict[str, Callable[[], Any]] = {"ranged read": probe.read}
    if write:
        steps["conditional write"] = probe.write
    steps["speed"] = probe.speed
    for name in ("ranged read", "conditional write", "speed"):
        if name not in steps:
            yield name, skipped("--write allows it")
        elif refused:
            yield name, skipped("an earlier step has failed")
        else:
            yield name, steps[name]()
