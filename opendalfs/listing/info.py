"""Info dicts: what OpenDAL returns about files and directories, in the form of fsspec."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from opendal.types import Metadata

from opendalfs.storage.connection import Connection

__all__ = [
    "Info",
    "by_name",
    "directory_info",
    "entry_info",
    "file_info",
    "sort_infos",
    "stat_info",
    "without_marker",
]

Info = dict[str, Any]
"""What fsspec's ``info`` returns."""


def directory_info(path: str, marker: bool | None = None) -> Info:
    """Return the info of a directory. `marker`: whether a marker object exists for it; None if unknown."""
    info: Info = {"name": path, "size": 0, "type": "directory"}
    info |= {"Key": path, "Size": 0, "StorageClass": "DIRECTORY"}
    if marker is not None:
        info["marker"] = marker
    return info


def entry_info(connection: Connection, key: str, metadata: Metadata) -> Info:
    """Return the info dict of a file or directory.

    Parameters
    ----------
    connection : Connection
        To its service.
    key : str
        Its key, with or without a trailing slash.
    metadata : Metadata
        From a stat or a list.

    Returns
    -------
    dict
        ``name``, ``size`` (bytes), ``type``; and where known ``ETag``, ``LastModified`` (aware),
        ``VersionId``, ``ContentType``, ``metadata``, with ``etag``, ``last_modified``, ``version`` and
        ``content_type`` as second names.
    """
    key = key.rstrip("/")
    return directory_info(connection.name(key)) if metadata.is_dir else file_info(connection, key, metadata)


def file_info(connection: Connection, key: str, metadata: Metadata) -> Info:
    """Return the info dict of a file; as `entry_info`."""
    name = connection.name(key)
    size = metadata.content_length
    info: Info = {"name": name, "size": size, "type": "file", "Key": name, "Size": size}
    etag = metadata.etag
    if etag is not None:
        info["ETag"] = info["etag"] = etag
    modified = connection.modified(key, metadata)
    if modified is not None:
        info["LastModified"] = info["last_modified"] = modified
    version = metadata.version
    if version is not None:
        info["VersionId"] = info["version"] = version
    kind = metadata.content_type
    if kind is not None:
        info["ContentType"] = info["content_type"] = kind
    return info


def stat_info(connection: Connection, key: str, metadata: Metadata) -> Info:
    """Return the info dict of one object from a stat, which has more fields than a list."""
    info = entry_info(connection, key, metadata)
    for name in ("user_metadata", "content_encoding", "content_disposition", "content_md5"):
        value = getattr(metadata, name)
        if value:
            info["metadata" if name == "user_metadata" else name] = value
    return info


def by_name(infos: Iterable[Info]) -> dict[str, Info]:
    """Return infos by name, sorted; for a name of both a file and a directory, that of the file."""
    order = sorted(infos, key=lambda info: (str(info["name"]), info["type"] == "file"))
    return {info["name"]: info for info in order}


def sort_infos(infos: list[Info]) -> None:
    """Sort a listing by name; for one name, the file comes before the directory."""
    infos.sort(key=itemgetter("type"), reverse=True)
    infos.sort(key=itemgetter("name"))


def without_marker(info: Info) -> Info:
    """Return an info without ``marker``, which only recursive lists know: as a plain list returns it."""
    return {name: value for name, value in info.items() if name != "marker"}
