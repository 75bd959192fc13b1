"""Uploads of bytes and of local files."""

from __future__ import annotations

import errno
import mimetypes
import os
from typing import Any

from opendalfs.errors import redact
from opendalfs.storage.connection import Connection
from opendalfs.write import async_writer
from opendalfs.write.options import kept_in_parts, with_default, write_target
from opendalfs.write.parts import part_size

from .base import BaseFileSystem

__all__ = ["upload_bytes", "upload_file"]


async def upload_bytes(fs: BaseFileSystem, path: str, value: Any, mode: str, options: dict[str, Any]) -> None:
    """Write bytes to a path; `OpendalFileSystem.pipe_file` describes the parameters."""
    connection, key = fs.locate_for_writing(path)
    # bytes() of a number would be that many zeros; memoryview() raises.
    data = value if isinstance(value, bytes) else bytes(memoryview(value))
    connection, settings = await _settings(fs, connection, path, mode, options)
    try:
        await async_writer.put_bytes(connection, key, data, **settings)
    finally:
        # A write that failed may have changed the object all the same.
        fs.invalidate_cache(path)


async def upload_file(
    fs: BaseFileSystem, source: Any, target: str, mode: str, callback: Any, options: dict[str, Any]
) -> None:
    """Write the content of a local file to a path; `OpendalFileSystem.put_file` describes the parameters."""
    if os.path.isdir(source):
        await fs._makedirs(target, exist_ok=True)
        return
    connection, key = fs.locate_for_writing(target)
    guessed = mimetypes.guess_type(os.fspath(source))[0]
    if guessed and connection.can("write_with_content_type") and kept_in_parts(connection, "content_type"):
        options = with_default(options, "content_type", guessed)
    connection, settings = await _settings(fs, connection, target, mode, options)
    size = os.path.getsize(source)
    callback.set_size(size)
    try:
        with open(source, "rb") as file:
            part = part_size(connection, size, chunk=settings.get("chunk"))
            parts = async_writer.file_parts(file, part, callback.relative_update)
            await async_writer.put_parts(connection, key, parts, size, **settings)
    finally:
        fs.invalidate_cache(target)


async def _settings(
    fs: BaseFileSystem, connection: Connection, path: str, mode: str, options: dict[str, Any]
) -> tuple[Connection, dict[str, Any]]:
    """Return what `write_target` returns; raise when a file to create exists."""
    if mode not in ("overwrite", "create"):
        raise ValueError(f"mode must be 'overwrite' or 'create', not {mode!r}")
    connection, settings = write_target(connection, options)
    if mode == "create":
        if connection.can("write_with_if_not_exists"):
            settings["if_not_exists"] = True
        elif await fs._exists(path, refresh=True):
            raise FileExistsError(errno.EEXIST, "File exists", redact(path))
    return connection, settings
