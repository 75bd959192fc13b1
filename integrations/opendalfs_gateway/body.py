"""Bodies of requests: plain, or in the chunks of AWS's own clients; verified where they are signed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from .checksums import Checksums
from .s3 import S3Error, equal_in_constant_time, parse_number
from .sigv4 import Payload

__all__ = ["Body"]

_PIECE: Final = 1 << 20
_MAX_TRAILER: Final = 16 << 10
"""Bytes of the headers after the last chunk."""


class Body:
    """The body of one request; it can be read once.

    Parameters
    ----------
    request : web.BaseRequest
        The request.
    payload : Payload, optional
        How its signature covers the body. Without one, nothing is verified, and the headers show whether
        there are chunks.
    """

    def __init__(self, request: web.BaseRequest, payload: Payload | None = None) -> None:
        self._request = request
        self._payload = payload or Payload(chunked=_says_chunked(request))
        # Where nothing is signed, the client is in this process, and the kernel does not lose bytes.
        self._checksums = Checksums(request.headers) if payload is not None else None

    @property
    def size(self) -> int:
        """Number of bytes of the decoded body.

        Raises
        ------
        S3Error
            411 if the request does not state it.
        """
        headers = self._request.headers
        text = headers.get("Content-Length", "")
        if self._payload.chunked or self._checksums is None:
            text = headers.get("x-amz-decoded-content-length", text)
        size = parse_number(text)
        if size is None:
            raise S3Error(
                411,
                "MissingContentLength",
                "the request has no length: send Content-Length or x-amz-decoded-content-length",
            )
        return size

    async def whole(self, limit: int | None = None) -> bytes:
        """Read the whole body. It must have the length that the request states.

        Parameters
        ----------
        limit : int, optional
            Bytes that it may have.

        Raises
        ------
        S3Error
            As `pieces`; 400 if it is longer than the limit.
        """
        if limit is not None and self.size > limit:
            raise S3Error(400, "EntityTooLarge", f"the body is longer than {limit} bytes")
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """Read the body in pieces. Nothing may be published before the last one: errors come at the end too.

        Yields
        ------
        bytes
            Decoded bytes, in order.

        Raises
        ------
        S3Error
            400 if the body has another length, digest or checksum than the request states, or malformed
            chunks; 403 if the signature of a chunk is wrong.
        """
        request, expected, total = self._request, self.size, 0
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # aiohttp counts these bytes as the beginning of the response, which they are not.
            request.writer.output_size = 0
        source = self._chunks() if self._payload.chunked else request.content.iter_any()
        digest = hashlib.sha256() if self._payload.digest is not None else None
        try:
            async for piece in source:
                total += len(piece)
                if total > expected:
                    break
                if digest is not None:
                    digest.update(piece)
                if self._checksums is not None:
                    self._checksums.update(piece)
                yield piece
        except (asyncio.IncompleteReadError, HttpProcessingError, ValueError):
            raise S3Error(
                400, "IncompleteBody", "the body ends within a chunk, or is malformed: send it again"
            ) from None
        if total != expected:
            raise S3Error(
                400,
                "IncompleteBody",
                f"the body does not have the {expected} bytes that the request states: send it again",
            )
        if digest is not None and not equal_in_constant_time(digest.hexdigest(), self._payload.digest or ""):
            raise S3Error(
                400, "XAmzContentSHA256Mismatch", "the body is not the one that was signed: send it again"
            )
        if self._checksums is not None:
            self._checksums.verify()

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Decode chunks: ``size[;chunk-signature=...]``, then data. An empty chunk and trailers end them."""
        content, signatures = self._request.content, self._payload.signatures
        while True:
            head, _, extension = (await content.readline()).strip().partition(b";")
            size = left = _hex(head)
            digest = hashlib.sha256() if signatures is not None else None
            while left:
                piece = await content.readexactly(min(left, _PIECE))
                left -= len(piece)
                if digest is not None:
                    digest.update(piece)
                yield piece
            if signatures is not None and digest is not None:
                signatures.check(_chunk_signature(extension), digest.hexdigest())
            if size == 0:
                break
            if await content.readexactly(2) != b"\r\n":
                raise ValueError("a chunk without an end")
        await self._read_trailer()

    async def _read_trailer(self) -> None:
        """Read the headers after the last chunk; ``x-amz-trailer-signature:...`` is the last of them."""
        content, signatures = self._request.content, self._payload.signatures
        lines: list[bytes] = []
        signature = b""
        size = 0
        while line := await content.readline():
            size += len(line)
            if size > _MAX_TRAILER:
                raise ValueError("headers without an end")
            name, _, value = line.strip().partition(b":")
            if name.lower() == b"x-amz-trailer-signature":
                signature = value.strip()
            elif name:
                lines.append(name.lower() + b":" + value.strip() + b"\n")
        if signatures is not None and signatures.trailer:
            signatures.check_trailer(signature.decode("latin-1"), b"".join(lines))
        if self._checksums is not None:
            for line in lines:
                name, _, value = line.strip().partition(b":")
                self._checksums.expect(name.decode("latin-1"), value.decode("latin-1"))


def _says_chunked(request: web.BaseRequest) -> bool:
    return request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-") or (
        "aws-chunked" in request.headers.get("Content-Encoding", "")
    )


def _hex(text: bytes) -> int:
    """Parse the size of a chunk, without the signs and underscores that `int` takes."""
    if not text or text.strip(b"0123456789abcdefABCDEF"):
        raise ValueError("the size of a chunk is no hexadecimal number")
    return int(text, 16)


def _chunk_signature(extension: bytes) -> str:
    name, _, value = extension.partition(b"=")
    return value.decode("latin-1") if name == b"chunk-signature" else ""
