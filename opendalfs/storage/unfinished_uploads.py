"""Unfinished multipart uploads: what killed writers leave with an object store, and how it is removed.

OpenDAL's binding can neither list nor abort uploads, so botocore does it for S3, with the options of the
filesystem. Other services need a lifecycle rule of their bucket.
"""

from __future__ import annotations

import errno
import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from opendalfs.errors import NoContainerError, OptionError, UnsupportedError, redact
from opendalfs.runtime import process

from .connection import Connection

__all__ = ["abort_uploads", "lifecycle_rule"]

_DAYS: Final = 7
_RULE: Final = {"ID": "abort-incomplete-uploads", "Status": "Enabled"}
_ABORT: Final = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _DAYS}}
_XML: Final = (
    "<LifecycleConfiguration><Rule><ID>abort-incomplete-uploads</ID><Status>Enabled</Status><Filter></Filter>"
    f"<AbortIncompleteMultipartUpload><DaysAfterInitiation>{_DAYS}</DaysAfterInitiation>"
    "</AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"
)
_COMMANDS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "s3": (
        "aws s3api put-bucket-lifecycle-configuration --bucket {bucket} --lifecycle-configuration '{rule}'",
        {"Rules": [{**_RULE, "Filter": {"Prefix": ""}, **_ABORT}]},
    ),
    "gcs": (
        "echo '{rule}' > rule.json && gcloud storage buckets update gs://{bucket} --lifecycle-file=rule.json",
        {"rule": [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": _DAYS}}]},
    ),
    "oss": (
        "ossutil api put-bucket-lifecycle --bucket {bucket} --lifecycle-configuration '{rule}'",
        {"Rule": {**_RULE, "Prefix": "", "AbortMultipartUpload": {"Days": str(_DAYS)}}},
    ),
    "b2": (
        "b2 bucket update --lifecycle-rule '{rule}' {bucket}",
        {"fileNamePrefix": "", "daysFromStartingToCancelingUnfinishedLargeFiles": _DAYS},
    ),
}
_OTHERS: Final[Mapping[str, str]] = {
    # Their consoles and tools take the XML of S3.
    **dict.fromkeys(("cos", "obs", "tos"), _XML),
    "azblob": "nothing is needed: Azure removes uncommitted blocks after a week",
}
_ERRORS: Final[Mapping[str, type[OSError]]] = {
    "AccessDenied": PermissionError,
    "InvalidAccessKeyId": PermissionError,
    "SignatureDoesNotMatch": PermissionError,
    "NoSuchBucket": NoContainerError,
    "NotImplemented": UnsupportedError,
    "MethodNotAllowed": UnsupportedError,
}
_NUMBERS: Final = {
    PermissionError: errno.EACCES,
    NoContainerError: errno.ENOENT,
    UnsupportedError: errno.ENOTSUP,
}


def lifecycle_rule(scheme: str, container: str) -> str | None:
    """Return what makes a service remove unfinished uploads by itself, after a week.

    Parameters
    ----------
    scheme : str
        Name of the service.
    container : str
        Name of the bucket.

    Returns
    -------
    str or None
        A command of the service's own tool, or the configuration where it has none; each replaces the rules
        that the bucket has. None for a service without such rules.

    Examples
    --------
    >>> print(lifecycle_rule("gcs", "lake").partition(" > ")[2])
    rule.json && gcloud storage buckets update gs://lake --lifecycle-file=rule.json
    """
    if scheme in _OTHERS:
        return _OTHERS[scheme]
    command, rule = _COMMANDS.get(scheme.removesuffix("-grpc"), ("", {}))
    return command.format(bucket=container, rule=json.dumps(rule)) or None


def abort_uploads(connection: Connection, key: str, older_than: float) -> list[str]:
    """Abort unfinished uploads of a key and below it, in the caller's thread.

    Parameters
    ----------
    connection : Connection
        Connection of the bucket.
    key : str
        The key; empty for the whole bucket.
    older_than : float
        Least age in seconds, by the clock of the server.

    Returns
    -------
    list of str
        The keys, one for each upload.

    Raises
    ------
    UnsupportedError
        If the service is not S3; the message contains the lifecycle rule to set.
    ImportError
        Without botocore.
    OSError
        If the server refuses it.
    """
    process.check_fork()
    if connection.service.scheme != "s3":
        raise _unsupported(connection)
    root = "/".join(filter(None, connection.native.get("root", "").split("/")))
    prefix = "/".join(filter(None, (root, key.strip("/"))))
    skip = len(root) + 1 if root else 0
    with _translated(connection, key):
        return [name[skip:] for name in _abort(connection, prefix, older_than)]


def _abort(connection: Connection, prefix: str, older_than: float) -> Iterator[str]:
    """Abort uploads, and yield their keys."""
    client = _client(connection)
    arguments = {"Bucket": _bucket(connection)}
    if connection.native.get("enable_request_payer") == "true":
        arguments["RequestPayer"] = "requester"
    below = f"{prefix}/" if prefix else ""
    for page in client.get_paginator("list_multipart_uploads").paginate(Prefix=prefix, **arguments):
        latest = _server_time(page) - timedelta(seconds=older_than)
        for upload in page.get("Uploads", ()):
            name = upload["Key"]
            if upload["Initiated"] <= latest and f"{name}/".startswith(below):
                client.abort_multipart_upload(Key=name, UploadId=upload["UploadId"], **arguments)
                yield name


def _bucket(connection: Connection) -> str:
    return connection.native.get(connection.service.container or "", "")


def _unsupported(connection: Connection) -> UnsupportedError:
    scheme = connection.service.scheme
    rule = lifecycle_rule(scheme, _bucket(connection))
    if rule is None:
        text = f"the service {scheme} cannot list unfinished uploads: use its own tools"
    else:
        text = f"the service {scheme} cannot list unfinished uploads here: set a lifecycle rule\n{rule}"
    return UnsupportedError(errno.ENOTSUP, text, connection.where)


def _client(connection: Connection) -> Any:
    """Return a client of botocore with the options of a connection, and no credentials beside them."""
    connection.authorize(wait=True)
    native = {**connection.native, **connection.credential_options()}
    try:
        botocore = importlib.import_module("botocore")
        config = importlib.import_module("botocore.config")
        session = importlib.import_module("botocore.session")
    except ImportError as exc:
        raise ImportError(
            f"clear_uploads() needs botocore: pip install botocore\nOr set a lifecycle rule: "
            f"{lifecycle_rule('s3', _bucket(connection))}"
        ) from exc
    if "role_arn" in native or (
        "access_key_id" not in native and native.get("disable_config_load") == "true"
    ):
        raise OptionError(
            "clear_uploads() cannot use these credentials: pass key=, secret= and token=\nIt does not assume "
            "roles."
        )
    style = "virtual" if native.get("enable_virtual_host_style") == "true" else "path"
    options: dict[str, Any] = {
        "s3": {"addressing_style": style},
        "connect_timeout": connection.tuning.timeout / 3,
    }
    if native.get("skip_signature") == "true":
        options["signature_version"] = botocore.UNSIGNED
    return session.Session(profile=native.get("profile")).create_client(
        "s3",
        region_name=native.get("region"),
        endpoint_url=native.get("endpoint"),
        aws_access_key_id=native.get("access_key_id"),
        aws_secret_access_key=native.get("secret_access_key"),
        aws_session_token=native.get("session_token"),
        config=config.Config(read_timeout=connection.tuning.timeout / 3, **options),
    )


def _server_time(page: Mapping[str, Any]) -> datetime:
    """Return the time of a response by the server's clock, which has dated the uploads too."""
    return parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])


@contextmanager
def _translated(connection: Connection, key: str) -> Iterator[None]:
    """Translate errors of botocore to OSErrors."""
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as exc:
        if not type(exc).__module__.startswith("botocore."):
            raise
        response = getattr(exc, "response", {}).get("Error", {})
        kind = _ERRORS.get(response.get("Code", ""), OSError)
        text = response.get("Message") or str(exc)
        if kind is UnsupportedError:
            text = f"{text}: set a lifecycle rule\n{lifecycle_rule('s3', _bucket(connection))}"
        raise kind(_NUMBERS.get(kind, errno.EIO), redact(text), redact(connection.name(key))) from exc
