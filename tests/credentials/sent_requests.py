"""Environment variables and first requests for the tests of credentials."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

import opendalfs
from opendalfs.testing import Request, ScriptedServer


def setenv(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def first_request(capture: ScriptedServer, scheme: str, **options: Any) -> Request:
    """Read one object and return the first request that the server received."""
    fs = opendalfs.filesystem(scheme, retries=0, timeout=10, skip_instance_cache=True, **options)
    with suppress(OSError):
        fs.info("lake/key")
    assert capture.requests, "nothing was sent"
    return capture.requests[0]
