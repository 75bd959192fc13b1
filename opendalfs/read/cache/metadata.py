"""Metadata from a record, with the attributes of OpenDAL's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from opendal.types import Entry, Metadata

__all__ = ["pack_entries", "pack_metadata", "unpack_entries", "unpack_metadata"]


@dataclass(frozen=True, slots=True)
class _Metadata:
    """Metadata of a key, with the attributes of `opendal.types.Metadata` that opendalfs uses."""

    is_dir: bool
    content_length: int
    etag: str | None = None
    version: str | None = None
    last_modified: datetime | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    content_disposition: str | None = None
    content_md5: str | None = None
    user_metadata: dict[str, str] | None = None

    @property
    def is_file(self) -> bool:
        """Whether this is a file."""
        return not self.is_dir


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a list, with the attributes of `opendal.types.Entry` that opendalfs uses."""

    path: str
    metadata: _Metadata


def pack_metadata(metadata: Metadata) -> list[Any]:
    """Return metadata as a list for JSON."""
    modified = metadata.last_modified
    fields = [
        metadata.is_dir,
        metadata.content_length,
        metadata.etag,
        metadata.version,
        None if modified is None else modified.isoformat(),
        metadata.content_type,
        metadata.content_encoding,
        metadata.content_disposition,
        metadata.content_md5,
        metadata.user_metadata or None,
    ]
    while fields[-1] is None:
        fields.pop()
    return fields


def unpack_metadata(fields: list[Any]) -> Metadata:
    """Return metadata from the list of `pack_metadata`."""
    if len(fields) > 4 and fields[4] is not None:
        fields = [*fields[:4], datetime.fromisoformat(fields[4]), *fields[5:]]
    # No instance of OpenDAL's own class can be made.
    return cast(Metadata, _Metadata(*fields))


def pack_entries(entries: Sequence[Entry]) -> list[Any]:
    """Return the entries of a list as a list for JSON."""
    return [[entry.path, *pack_metadata(entry.metadata)] for entry in entries]


def unpack_entries(rows: list[list[Any]]) -> list[Entry]:
    """Return entries from the list of `pack_entries`."""
    entries = [_Entry(path, cast(_Metadata, unpack_metadata(fields))) for path, *fields in rows]
    return cast(list[Entry], entries)
