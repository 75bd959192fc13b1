"""Removal of what unfinished writes have left: parts in object stores, staged files on local disks."""

from __future__ import annotations

from opendalfs.runtime import executor
from opendalfs.services import Locality
from opendalfs.storage.local_disk import stages_writes
from opendalfs.storage.unfinished_uploads import abort_uploads
from opendalfs.write.staging import clear_leftovers

from .base import BaseFileSystem

__all__ = ["clear_uploads"]


async def clear_uploads(fs: BaseFileSystem, path: str, older_than: float) -> list[str]:
    """Remove unfinished writes; `OpendalFileSystem.clear_uploads` describes the parameters."""
    connection, key = fs.locate(path)
    if stages_writes(connection):
        keys = await executor.to_thread(clear_leftovers, connection, key)
    elif connection.service.locality is Locality.REMOTE:
        keys = await executor.to_thread(abort_uploads, connection, key, older_than)
    else:
        # Stores in this process have nothing that outlives a writer.
        keys = []
    return [connection.name(key) for key in keys]
