"""Names of containers and repositories: which are valid, and the options of OpenDAL for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from .errors import redact
from .services import Form, Service
from .urls import HUB_KINDS

__all__ = ["container_options"]

# OpenDAL writes the container into the URL (or the host) of each request without encoding. With any other
# character the request would go to another bucket, to the bucket instead of an object, or to another host.
_NAME: Final = re.compile(r"[\w.$-]+", re.ASCII)
_UTF8_NAME: Final = re.compile(r"[\w.$-]+")
_HUB_NAME: Final = re.compile(r"[\w.-]+", re.ASCII)
# OpenDAL percent-encodes a revision. These exclude what servers may decode twice or resolve.
_REVISION: Final = re.compile(r"[^\s%\\\x00-\x1f\x7f]+")
_DOTS: Final = frozenset({".", ".."})


def container_options(service: Service, container: str, native: Mapping[str, str]) -> dict[str, str]:
    """Return the options that bind an operator to one container.

    Parameters
    ----------
    service : Service
        The service of the container.
    container : str
        The container as `urls.split` returns it; empty if the options name it, or if there is none.
    native : Mapping
        The options of the filesystem.

    Returns
    -------
    dict of str

    Raises
    ------
    ValueError
        For a name with a character that would change the URL of a request, that is no repository, or whose
        id is missing in the options.
    """
    if service.form is Form.CONTAINER and service.container is not None:
        name = container or native.get(service.container, "")
        if name:
            _check_name(service, name)
        return {service.container: container, **_identity(service, container, native)} if container else {}
    if service.form is Form.HUB:
        if container:
            return _repository(container)
        _check_repository(native.get("repo_id", ""), native.get("revision", ""))
    if service.form is Form.ABSOLUTE and container:
        return {"root": container}
    return {}


def _check_name(service: Service, name: str) -> None:
    pattern = _UTF8_NAME if service.utf8_containers else _NAME
    if name in _DOTS or not pattern.fullmatch(name):
        letters = "letters" if service.utf8_containers else "ASCII letters"
        hint = "; for an access point use its alias" if name.startswith("arn:") else ""
        # What stands before an @ may be keys: some tools take them there.
        shown = redact(f"{service.scheme}://{name}").removeprefix(f"{service.scheme}://")
        raise ValueError(
            f"{shown!r} is not a valid name of a {service.scheme} {service.container}: "
            f"use {letters}, digits, '.', '_', '-' and '$'{hint}"
        )


def _identity(service: Service, container: str, native: Mapping[str, str]) -> dict[str, str]:
    name = service.container_id
    if name is None or name not in native:
        return {}
    found = dict(pair.split("=") for pair in native[name].split(","))
    if container not in found:
        raise ValueError(
            f"{service.scheme} needs the id of {container!r}: pass {name}={{{container!r}: 'its id'}}"
        )
    return {name: found[container]}


def _repository(container: str) -> dict[str, str]:
    """Return the options for ``[kind/]owner/name[@revision]``; the revision is percent-encoded."""
    name, mark, revision = container.partition("@")
    parts = name.split("/")
    kind = HUB_KINDS.get(parts[0])
    owned = parts[1:] if kind else parts
    if len(owned) != 2 or not all(owned):
        raise ValueError(
            f"{redact(container)!r} does not name a repository: write 'owner/name' or 'datasets/owner/name'"
        )
    options = {"repo_type": kind or "model", "repo_id": "/".join(owned)}
    if mark:
        options["revision"] = unquote(revision)
        if not revision:
            raise ValueError(f"{redact(container)!r} ends with '@': append a revision, as in '@main'")
    _check_repository(options["repo_id"], options.get("revision", ""))
    return options


def _check_repository(name: str, revision: str) -> None:
    for part in name.split("/") if name else ():
        if part in _DOTS or not _HUB_NAME.fullmatch(part):
            raise ValueError(
                f"{redact(name)!r} is not a valid name of a repository: write 'owner/name', each of ASCII "
                "letters, digits, '.', '_' and '-'"
            )
    if not revision:
        return
    parts = revision.split("/")
    if not _REVISION.fullmatch(revision) or not all(parts) or not _DOTS.isdisjoint(parts):
        raise ValueError(
            f"{redact(revision)!r} is not a valid revision: write '/' as %2F, as in '@refs%2Fpr%2F1'\n"
            "White space, '%', a backslash and the parts '.' and '..' are not allowed."
        )
