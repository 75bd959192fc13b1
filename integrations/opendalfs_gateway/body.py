"""Bodies of uploads: plain, or in the chunks of AWS's own clients."""

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
    """Return the number of bytes of a decoded body.

    Raises
    ------
    S3Error
        411 if the request does not state it.
    """
    text = request.headers.get("x-amz-decoded-content-length", request.headers.get("Content-Length", ""))
    size = parse_number(text)
    if size is None:
        raise S3Error(
            411,
            "MissingContentLength",
            "the request has no length: send Content-Length or x-amz-decoded-content-length",
        )
    return size


async def whole(request: web.BaseRequest) -> bytes:
    """Read a whole body. It must have the length that the request states."""
    return b"".join([piece async for piece in pieces(request)])


async def pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Read a body in pieces.

    Parameters
    ----------
    request : web.BaseRequest
        Request of an upload.

    Yields
    ------
    bytes
        Decoded bytes, in order.

    Raises
    ------
    S3Error
        400 if the body has another length than the request states, or malformed chunks.
    """
    expected, total = length(request), 0
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # aiohttp counts these bytes as the beginning of the response, which they are not.
        request.writer.output_size = 0
    source = _chunks(request) if _is_chunked(request) else request.content.iter_any()
    try:
        async for piece in source:
            total += len(piece)
            if total > expected:
                break
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


def _is_chunked(request: web.BaseRequest) -> bool:
    return request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-") or (
        "aws-chunked" in request.headers.get("Content-Encoding", "")
    )


async def _chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Decode chunks: ``size[;chunk-signature=...]``, then data; an empty chunk and trailers end the body."""
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
        # Trailers hold checksums against network errors, which the loopback interface does not have.
        pass
