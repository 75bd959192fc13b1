"""Checksums that a client sends along with a body."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from .s3 import S3Error

__all__ = ["Checksums"]


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _md5() -> _Digest:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> _Digest:
    return hashlib.sha1(usedforsecurity=False)


_DIGESTS: Final[Mapping[str, Callable[[], _Digest]]] = {
    "content-md5": _md5,
    "x-amz-checksum-crc32": _Crc32,
    "x-amz-checksum-sha1": _sha1,
    "x-amz-checksum-sha256": hashlib.sha256,
}
"""The standard library has no CRC-32C and no CRC-64/NVME, so that these are not verified."""


class Checksums:
    """The checksums of one body, which its headers name, or the headers after its last chunk.

    Parameters
    ----------
    headers : Mapping
        The headers of the request, by name in any case.

    Examples
    --------
    >>> checksums = Checksums({"content-md5": "rL0Y20zC+Fzt72VPzMSk2A=="})
    >>> checksums.update(b"foo")
    >>> checksums.verify()
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._expected = {name: headers[name] for name in _DIGESTS if name in headers}
        later = (name.strip().lower() for name in headers.get("x-amz-trailer", "").split(","))
        names = {*self._expected, *(name for name in later if name in _DIGESTS)}
        self._digests = {name: _DIGESTS[name]() for name in names}

    def update(self, data: bytes) -> None:
        """Add the next bytes of the body."""
        for digest in self._digests.values():
            digest.update(data)

    def expect(self, name: str, value: str) -> None:
        """Add a checksum that came after the body; `name` in lower case."""
        if name in self._digests:
            self._expected[name] = value

    def verify(self) -> None:
        """Compare the body with its checksums.

        Raises
        ------
        S3Error
            400 if one differs, or did not arrive.
        """
        for name, digest in self._digests.items():
            if base64.b64encode(digest.digest()).decode() != self._expected.get(name, "").strip():
                raise S3Error(
                    400, "BadDigest", f"the body does not have its checksum in {name}: send it again"
                )
