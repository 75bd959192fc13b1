"""What a notebook shows of a filesystem."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from typing import Final

from opendalfs import markup
from opendalfs.errors import redact, redact_endpoint
from opendalfs.options import Tuning, shown_options
from opendalfs.services import Form, Locality
from opendalfs.storage.connection import Connection

from .base import BaseFileSystem

__all__ = ["filesystem_html"]

_CAPABILITIES: Final = {
    "read": "read",
    "write": "write",
    "write_with_if_not_exists": "create only if missing",
    "write_with_if_match": "replace only if unchanged",
    "list": "list",
    "delete": "delete",
    "copy": "copy on the server",
    "rename": "rename",
    "read_with_version": "read old versions",
    "write_with_user_metadata": "metadata",
}
"""OpenDAL's flags that a user of the filesystem notices, and what they mean."""

_ANY_CONTAINER: Final = {Form.CONTAINER: "container", Form.HUB: "datasets/owner/name"}
"""Paths that name some container, which need not exist: all of a service have the same capabilities."""

_OPENED_AT_ONCE: Final = frozenset({"sled"})
"""Services whose database OpenDAL creates and locks as soon as their capabilities can be looked up."""


def filesystem_html(fs: BaseFileSystem) -> str:
    """Return service, container, endpoint, options without secrets, and capabilities as an HTML table.

    Parameters
    ----------
    fs : BaseFileSystem
        No request is made, and no file is opened.

    Returns
    -------
    str
    """
    return f"<div><b>{markup.escape(type(fs).__name__)}</b>{markup.table(_rows(fs))}</div>"


def _rows(fs: BaseFileSystem) -> Iterator[tuple[str, str]]:
    service = fs.service
    yield "service", service.scheme
    name = service.container
    if name:
        yield name, redact(fs.native.get(name, "the first part of each path"))
    if service.locality is Locality.REMOTE:
        yield service.endpoint, redact_endpoint(fs.endpoint or "the service's own")
    named = {name, service.endpoint}
    options = {k: text for k, text in shown_options(fs.native).items() if k not in named}
    default = Tuning()
    changed = {f.name: getattr(fs.tuning, f.name) for f in fields(Tuning)}
    options |= {k: repr(value) for k, value in changed.items() if value != getattr(default, k)}
    if options:
        yield "options", ", ".join(f"{k}={text}" for k, text in options.items())
    if fs.provider is not None:
        yield "credential_provider", fs.provider.name
    if service.scheme in _OPENED_AT_ONCE and not fs._relative_paths:
        return
    # A repr works in a forked child, and where options are missing that a URL would bring.
    with suppress(OSError, RuntimeError, ValueError):
        connection, _ = fs.locate(_ANY_CONTAINER.get(service.form, "") if not fs._relative_paths else "")
        can, cannot = _capabilities(connection)
        yield "can", ", ".join(can)
        if cannot:
            yield "cannot", ", ".join(cannot)


def _capabilities(connection: Connection) -> tuple[list[str], list[str]]:
    """Return what a service can do, and what it cannot."""
    found = {text: connection.can(flag) for flag, text in _CAPABILITIES.items()}
    found |= {"append in place": connection.service.appends, "sign URLs": connection.service.signs}
    return [text for text, yes in found.items() if yes], [text for text, yes in found.items() if not yes]
