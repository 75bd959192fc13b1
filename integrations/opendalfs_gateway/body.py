"""The body of an upload, as its client sent it: plain, or in the chunks that AWS's own clients use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from .s3 import S3Error, parse_number

__all__ = ["length", "pieces", "whole"]

_PIECE: Final = 1 << 20


def length(request: web.BaseRequest) -> int:
    """Give the number of bytes that a body will decode to.

    Raises
    ------
    S3Error
        When the client does not tell it.
    """
    text = request.headers.get("x-amz-decoded-content-length", request.headers.get("Content-Length", ""))
    size = parse_number(text)
    if size is None:
        raise S3Error(411, "MissingContentLength", "an upload tells its length")
    return size


async def whole(request: web.BaseRequest) -> bytes:
    """Read a body whole, which must have the length that was told."""
    return b"".join([piece async for piece in pieces(request)])


async def pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Read a body piece by piece.

    Parameters
    ----------
    request : web.BaseRequest
        Of an upload.

    Yields
    ------
    bytes
        Decoded.

    Raises
    ------
    S3Error
        When the body is not of the length that was told, or its chunks are malformed.
    """
    expected, total = length(request), 0
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What counts as the answer has not begun.
        request.writer.output_size = 0
    source = _chunks(request) if _is_chunked(request) else request.content.iter_any()
    try:
        async for piece in source:
            total += len(piece)
            if total > expected:
                break
            yield piece
    except (asyncio.IncompleteReadError, HttpProcessingError, ValueError):
        raise S3Error(400, "IncompleteBody", "the body ends within a chunk, or is malformed") from None
    if total != expected:
        raise S3Error(400, "IncompleteBody", f"the body has not the {expected} bytes that were told")


def _is_chunked(request: web.BaseRequest) -> bool:
    return request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-") or (
        "aws-chunked" in request.headers.get("Content-Encoding", "")
    )


async def _chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Decode ``size[;chunk-signature=...]``, data, and so on, up to a chunk of no bytes and its trailers."""
    content = request.content
    while True:
        size = int((await content.readline()).partition(b";")[0], 16)
        if size < 0:
            raise ValueError("a chunk of negative size")
        if size == 0:
            break
        while size:
            piece = await content.readexactly(min(size, _PIECE))
            size -= len(piece)
            yield piece
        if await content.readexactly(2) != b"\r\n":
            raise ValueError("a chunk without an end")
    async for _ in content.iter_any():
        # Trailers hold checksums for a network, which a loopback is not.
        pass
