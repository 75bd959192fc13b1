"""The options of one write."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any, Final

from opendal.types import Metadata

from opendalfs.errors import OptionError
from opendalfs.services import Locality
from opendalfs.storage.connection import Connection
from opendalfs.storage.operators import with_options

__all__ = [
    "PARTS_IN_FLIGHT",
    "check_parts",
    "copy_target",
    "keep_metadata",
    "kept_in_parts",
    "with_default",
    "write_options",
    "write_target",
]

PARTS_IN_FLIGHT: Final = 8
"""Parts of one object in flight by default. With parts of 8 MiB that is 64 MiB of memory."""

_NAMES: Final = {
    "content_type": "content_type",
    "ContentType": "content_type",
    "content_disposition": "content_disposition",
    "ContentDisposition": "content_disposition",
    "content_encoding": "content_encoding",
    "ContentEncoding": "content_encoding",
    "cache_control": "cache_control",
    "CacheControl": "cache_control",
    "metadata": "user_metadata",
    "Metadata": "user_metadata",
    "user_metadata": "user_metadata",
    "if_match": "if_match",
}

_SIZES: Final = {
    "chunksize": "chunk",
    "blocksize": "chunk",
    "block_size": "chunk",
    "max_concurrency": "concurrent",
}
"""Names of s3fs, gcsfs and adlfs for the bytes of a part and for the parts in flight."""

_BLOCK_SIZES: Final = frozenset({"blocksize", "block_size"})


_OPERATOR_NAMES: Final = {
    "storage_class": "storage_class",
    "StorageClass": "storage_class",
    "server_side_encryption": "server_side_encryption",
    "ServerSideEncryption": "server_side_encryption",
    "kms_key_id": "kms_key_id",
    "SSEKMSKeyId": "kms_key_id",
    "acl": "acl",
    "ACL": "acl",
}
"""Options of a write that OpenDAL takes as options of its operator."""

_OPERATOR_OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": {
        "storage_class": "default_storage_class",
        "server_side_encryption": "server_side_encryption",
        "kms_key_id": "server_side_encryption_aws_kms_key_id",
        "acl": "default_acl",
    },
    "gcs": {"storage_class": "default_storage_class", "acl": "predefined_acl"},
    "oss": {
        "server_side_encryption": "server_side_encryption",
        "kms_key_id": "server_side_encryption_key_id",
    },
}
"""OpenDAL's names of them, by service."""

_IN_HEADER: Final = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_HEADER_NAME: Final = re.compile(r"[\w.!#$%&'*+^`|~-]+", re.ASCII)
_IN_JSON: Final = re.compile(r"[^\x00-\x1f\x7f]*")
"""What services store: ASCII in a header, without spaces at its ends, which servers drop; GCS takes JSON."""

_COPIED: Final = frozenset({"server_side_encryption", "server_side_encryption_aws_kms_key_id"})
"""The ones that OpenDAL sends with a copy too."""


_LOST_IN_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "gcs": frozenset({"default_storage_class", "predefined_acl"}),
    "obs": frozenset({"cache_control", "user_metadata"}),
    "oss": frozenset({"user_metadata"}),
    "swift": frozenset({"cache_control", "content_disposition", "content_encoding", "content_type"}),
}
"""What OpenDAL sends with a whole object, and leaves out when it starts a multipart upload."""


_KEPT: Final = ("content_type", "content_encoding", "content_disposition", "user_metadata")
"""What OpenDAL reports of an object, so that it can be written again with it."""

_DEFAULT_TYPES: Final = ("application/octet-stream", "binary/octet-stream")
"""Content types that services return for objects written without one."""


def keep_metadata(connection: Connection, metadata: Metadata, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a write with the metadata of an object, where they do not name their own.

    Parameters
    ----------
    connection : Connection
        The connection that stores the new object. What its service does not store is left out.
    metadata : Metadata
        Of the object whose content is written again.
    options : Mapping
        Options as `write_target` takes them.

    Returns
    -------
    dict
    """
    kept = dict(options)
    for name in _KEPT:
        value = getattr(metadata, name)
        # Not worth an error of `check_parts`.
        default = value in _DEFAULT_TYPES and not kept_in_parts(connection, name)
        if value and not default and connection.can(f"write_with_{name}"):
            kept = with_default(kept, name, value)
    return kept


def kept_in_parts(connection: Connection, name: str) -> bool:
    """Whether an option of a write, by OpenDAL's name, reaches the service also with a multipart upload."""
    return name not in _LOST_IN_PARTS.get(connection.service.scheme, ())


def check_parts(connection: Connection, options: Mapping[str, Any]) -> None:
    """Raise if options of a write would be lost because the object is written in parts.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    options : Mapping
        Options as `write_options` returns them.

    Raises
    ------
    OptionError
        If OpenDAL leaves out one of them, or of the connection's, when it starts a multipart upload.
    """
    for name in (*options, *connection.native):
        if not kept_in_parts(connection, name):
            scheme = connection.service.scheme
            lost = name.removeprefix("default_").removeprefix("predefined_")
            raise OptionError(
                f"an upload in parts to {scheme} would lose {lost}: "
                "pass a chunksize= larger than the object\n"
                "Where no call takes a chunksize=, as in mv and pyarrow, pass write_chunk= to the filesystem."
            )


def with_default(options: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return options of a write with a value for one that is not given.

    Parameters
    ----------
    options : Mapping
        Options as `write_target` takes them.
    name : str
        The option, by OpenDAL's name.
    value : object
        Its value where no name of it is given.

    Returns
    -------
    dict
    """
    given = [*options.items(), *(options.get("fixed_key_metadata") or {}).items()]
    known = any(_NAMES.get(one) == name and found is not None for one, found in given)
    return dict(options) if known else {**options, name: value}


def write_target(connection: Connection, options: Mapping[str, Any]) -> tuple[Connection, dict[str, Any]]:
    """Check the options of one write, and return the connection that sends it.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    options : Mapping
        Options as `write_options` takes them, and ``storage_class``, ``server_side_encryption``,
        ``kms_key_id`` and ``acl``, or the same in s3fs's names; ``fixed_key_metadata``, gcsfs's dict of
        further ones.

    Returns
    -------
    Connection
        Another one to the same container, if OpenDAL takes some of the options from its operator only.
    dict
        The other options, in OpenDAL's names.

    Raises
    ------
    OptionError
        For an unknown option, an option that the service lacks, a wrong value, and two names of one option
        with different values.
    """
    given = {name: value for name, value in options.items() if name != "fixed_key_metadata"}
    for name, value in (options.get("fixed_key_metadata") or {}).items():
        _check_same("fixed_key_metadata", value, name, given.get(name))
        if given.get(name) is None:
            given[name] = value
    rest = {name: value for name, value in given.items() if name not in _OPERATOR_NAMES}
    checked = write_options(connection, rest)
    own = _operator_options(connection, {k: v for k, v in given.items() if k not in rest})
    return (with_options(connection, own) if own else connection), checked


def copy_target(connection: Connection, options: Mapping[str, Any]) -> Connection:
    """Check the options of one copy, and return the connection that sends it.

    Parameters
    ----------
    connection : Connection
        The connection that stores both objects.
    options : Mapping
        ``server_side_encryption`` and ``kms_key_id``, or the same in s3fs's names. A copy on the server keeps
        what else the service stores with the object.

    Returns
    -------
    Connection

    Raises
    ------
    OptionError
        For any other option.
    """
    given = {name: value for name, value in options.items() if value is not None}
    own = _operator_options(connection, {k: v for k, v in given.items() if k in _OPERATOR_NAMES})
    for name in given:
        known = _OPERATOR_OPTIONS.get(connection.service.scheme, {}).get(_OPERATOR_NAMES.get(name, ""))
        if known not in _COPIED:
            raise OptionError(
                f"a copy within {connection.service.scheme} takes no {name!r}: read it, and write it anew"
            )
    return with_options(connection, own) if own else connection


def _operator_options(connection: Connection, options: Mapping[str, Any]) -> dict[str, str]:
    """Return options of one write in the names of the operator's options."""
    native: dict[str, str] = {}
    given: dict[str, str] = {}
    names = _OPERATOR_OPTIONS.get(connection.service.scheme, {})
    for name, value in options.items():
        if value is None:
            continue
        known = names.get(_OPERATOR_NAMES[name])
        if known is None:
            raise _lacks(connection, _OPERATOR_NAMES[name])
        _check_same(given.setdefault(known, name), native.get(known), name, value)
        native[known] = _string(connection, name, value)
    if names.get("kms_key_id") in native and not {**connection.native, **native}.get(
        names["server_side_encryption"]
    ):
        # The server would refuse the request.
        raise OptionError(
            "kms_key_id without an encryption: pass server_side_encryption= too, such as 'aws:kms' on S3"
        )
    return native


def _check_same(first: str, value: Any, second: str, other: Any) -> None:
    """Raise if two names of one option have different values, of which one would be dropped."""
    if value is not None and other is not None and value != other:
        raise OptionError(
            f"{first} and {second} are the same option, with different values: pass one of them"
        )


def _lacks(connection: Connection, name: str) -> OptionError:
    return OptionError(
        f"the service {connection.service.scheme} takes no {name} with a write, or OpenDAL cannot send it: "
        "leave it out"
    )


def write_options(connection: Connection, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options of one write.

    Parameters
    ----------
    connection : Connection
        The connection that stores the object.
    options : Mapping
        ``content_type``, ``content_disposition``, ``content_encoding``, ``cache_control``, ``metadata``
        (a dict of str), ``if_match`` (an etag), or the same in s3fs's names; ``chunksize`` (bytes of a part;
        the service's minimum if it is smaller; also ``blocksize`` and ``block_size``) and
        ``max_concurrency`` (parts in flight). None means not given. So does 0 as a ``blocksize`` or
        ``block_size``: with it fsspec's callers ask for no buffer.

    Returns
    -------
    dict
        The options in OpenDAL's names.

    Raises
    ------
    OptionError
        For an unknown option, an option that the service lacks, a wrong value, and two names of one option
        with different values.
    """
    checked: dict[str, Any] = {}
    given: dict[str, str] = {}
    for name, value in options.items():
        if name not in _NAMES and name not in _SIZES:
            known = ", ".join((*_NAMES, *_OPERATOR_NAMES, *_SIZES))
            raise OptionError(f"unknown option of a write: {name!r}\nThe options are: {known}.")
        if value is None or (name in _BLOCK_SIZES and value is not False and value == 0):
            continue
        if name in _SIZES:
            native = _SIZES[name]
            value = _size(name, value)
            _check_same(given.setdefault(native, name), checked.get(native), name, value)
            checked[native] = value
            continue
        native = _NAMES[name]
        if not connection.can(f"write_with_{native}"):
            raise _lacks(connection, native)
        _check_same(given.setdefault(native, name), checked.get(native), name, value)
        store = _metadata if native == "user_metadata" else _string
        checked[native] = store(connection, name, value)
    return checked


def _string(connection: Connection, name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise OptionError(f"invalid {name}: {value!r}. Pass a string that is not empty")
    _check_text(connection, name, value, _IN_HEADER)
    return value


def _metadata(connection: Connection, name: str, value: Any) -> dict[str, str]:
    """Return user metadata; services store only strings, and most of them no two names of one spelling."""
    if not isinstance(value, Mapping):
        raise OptionError(f"invalid {name}: {value!r}. Pass a dict of strings")
    for key, text in value.items():
        if not isinstance(key, str) or not key:
            raise OptionError(f"invalid key of {name}: {key!r}. Pass a string that is not empty")
        if not isinstance(text, str):
            raise OptionError(f"invalid {name}[{key!r}]: {text!r}. Pass a string")
        _check_text(connection, f"key of {name}", key, _HEADER_NAME)
        _check_text(connection, f"{name}[{key!r}]", text, _IN_HEADER)
    if len({key.lower() for key in value}) < len(value):
        raise OptionError(f"keys of {name} differ only in case, so that one would be lost: {sorted(value)}")
    return dict(value)


def _check_text(connection: Connection, name: str, text: str, allowed: re.Pattern[str]) -> None:
    """Raise for a text that the service would store otherwise, or for which OpenDAL panics."""
    if connection.service.locality is not Locality.REMOTE:
        return
    if connection.service.scheme == "gcs":
        allowed = _IN_JSON
    if not allowed.fullmatch(text):
        raise OptionError(
            f"invalid {name}: {text!r}. Pass ASCII characters without line breaks, or encode it, as by "
            "urllib.parse.quote"
        )


def _size(name: str, value: Any) -> int:
    try:
        size = operator.index(value)
    except TypeError:
        size = 0
    if size < 1 or isinstance(value, bool):
        raise OptionError(f"invalid {name}: {value!r}. Pass a whole number of at least 1")
    return size
