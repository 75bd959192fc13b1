"""The state machine: all rules together."""

from __future__ import annotations

from tests.models.changes import Changes
from tests.models.content import Content
from tests.models.lookups import Lookups
from tests.models.writes import Writes

__all__ = ["FilesystemMachine"]


class FilesystemMachine(Writes, Changes, Content, Lookups):
    """Two clients with cached listings, a storage, and what it should hold."""
