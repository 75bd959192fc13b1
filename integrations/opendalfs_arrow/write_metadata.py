"""pyarrow's metadata of a written file as write options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opendalfs.storage.connection import Connection

__all__ = ["write_options"]

_HEADERS: Final = {
    "content-type": "content_type",
    "content-disposition": "content_disposition",
    "content-encoding": "content_encoding",
    "cache-control": "cache_control",
}


def write_options(connection: Connection, metadata: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Return write options for pyarrow's metadata: headers by their names, all else as user metadata.

    Parameters
    ----------
    connection : Connection
        The service. What it does not keep is left out.
    metadata : mapping of str or bytes, optional
        As `pyarrow.fs.FileSystem.open_output_stream` takes it.

    Returns
    -------
    dict

    Notes
    -----
    pyarrow passes no size. Where OpenDAL loses metadata of an upload in parts, as for OSS and OBS, a write of
    more than one part raises an OptionError: pass the filesystem a ``write_chunk=`` (bytes) above the size of
    the file, which is then sent as one part.
    """
    options: dict[str, Any] = {}
    user_metadata: dict[str, str] = {}
    for name, value in dict(metadata or {}).items():
        key = _text(name)
        option = _HEADERS.get(key.lower())
        if option is None:
            user_metadata[key] = _text(value)
        elif connection.can(f"write_with_{option}"):
            options[option] = _text(value)
    if user_metadata and connection.can("write_with_user_metadata"):
        options["metadata"] = user_metadata
    return options


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
