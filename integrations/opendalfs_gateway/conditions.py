"""The conditions of requests: If-Match, If-None-Match and their siblings (RFC 9110, 13)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from opendalfs.storage.version import Version

from .directory import has_identity
from .s3 import S3Error

__all__ = ["ANY", "READ_HEADERS", "WriteCondition", "check_read", "check_write", "matches", "write_condition"]

READ_HEADERS: Final = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
_ETAG: Final = re.compile(r'(?:W/)?"[^"]*"|[^,\s]+')


@dataclass(frozen=True, slots=True)
class WriteCondition:
    """What must be true of the object that a write would replace.

    Parameters
    ----------
    new : bool
        That there is none.
    etag : str
        That it has one of these etags, as in If-Match; empty for no condition.
    """

    new: bool = False
    etag: str = ""

    def __bool__(self) -> bool:
        return self.new or bool(self.etag)

    @property
    def single_etag(self) -> str:
        """The etag with its quotes if it is a single strong one, as services take it; else empty."""
        found = _ETAG.findall(self.etag)
        if len(found) != 1 or found[0] == "*" or found[0].startswith("W/"):
            return ""
        return f'"{found[0].strip(chr(34))}"'


ANY: Final = WriteCondition()
"""No condition."""


def write_condition(headers: Mapping[str, str]) -> WriteCondition:
    """Return the condition in the headers of a write.

    Raises
    ------
    S3Error
        501 for a condition that S3 does not have either.
    """
    none, match = headers.get("If-None-Match", ""), headers.get("If-Match", "")
    dates = [name for name in READ_HEADERS[2:] if name in headers]
    if none not in ("", "*") or (none and match) or dates:
        raise S3Error(
            501, "NotImplemented", "a write takes If-None-Match: * or If-Match, and no other condition"
        )
    return WriteCondition(bool(none), match.strip())


def check_write(condition: WriteCondition, etag: str | None) -> None:
    """Raise if the condition of a write is not met.

    Parameters
    ----------
    condition : WriteCondition
        The condition.
    etag : str or None
        The quoted etag of the object that would be replaced; None if there is none.

    Raises
    ------
    S3Error
        412 if it is not met; 404 for If-Match if there is no object.
    """
    if condition.new and etag is not None:
        raise S3Error(412, "PreconditionFailed", "the object exists: If-None-Match allows only a new one")
    if not condition.etag:
        return
    if etag is None:
        raise S3Error(404, "NoSuchKey", "there is no object that If-Match could match")
    if not matches(condition.etag, etag):
        raise S3Error(
            412, "PreconditionFailed", "the object has another version than If-Match: read it again"
        )


def check_read(headers: Mapping[str, str], version: Version, etag: str, prefix: str = "") -> None:
    """Raise if the conditions of a read are not met.

    Parameters
    ----------
    headers : Mapping
        Headers of the request.
    version : Version
        The version of the object.
    etag : str
        Its quoted etag.
    prefix : str
        What the names of the headers begin with: that of the source of a copy.

    Raises
    ------
    S3Error
        412 for a version that does not match; 304 for one that the client has already.
    """
    modified = version.modified
    match, none, since, until = (headers.get(f"{prefix}{name}") for name in READ_HEADERS)
    if match is not None:
        if not matches(match, etag):
            raise _failed()
    elif until is not None and _is_later(modified, until):
        raise _failed()
    if none is not None:
        # Without an identity, equal etags do not show that the content is the same.
        if none.strip() == "*" or (has_identity(version) and matches(none, etag)):
            raise _failed() if prefix else S3Error(304, "NotModified", "the object has not changed")
    elif since is not None and modified is not None and not _is_later(modified, since):
        raise _failed() if prefix else S3Error(304, "NotModified", "the object has not changed")


def matches(header: str, etag: str) -> bool:
    """Whether an etag is one of those in a header, or the header is ``*``; some clients omit the quotes."""
    return any(found == "*" or found.strip('"') == etag.strip('"') for found in _ETAG.findall(header))


def _failed() -> S3Error:
    return S3Error(
        412, "PreconditionFailed", "the object does not have the version in If-Match: read it again"
    )


def _is_later(modified: datetime | None, header: str) -> bool:
    """Whether an object was modified after the time in a header; False if one of them is unknown."""
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return False
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return modified is not None and modified.replace(microsecond=0) > when
