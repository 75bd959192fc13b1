"""Digests that stand for a container as its credentials see it, for keys, and for versions.

They are keyed with the secret of the cache. So names of files reveal neither keys nor credentials, and a
filesystem with other options or credentials finds nothing of what this one has read.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Final

from opendalfs import aws
from opendalfs.credential_providers.provider import AwsProfile
from opendalfs.errors import OptionError
from opendalfs.storage.connection import Connection
from opendalfs.storage.version import Version, strong_etag

__all__ = ["container_digest", "key_digest", "version_digest"]

_SIZE: Final = 20

_VARIABLES: Final = (
    "AWS_",
    "AZURE_",
    "AZBLOB_",
    "GOOGLE_",
    "GCLOUD_",
    "ALIBABA_",
    "OSS_",
    "COS_",
    "TENCENTCLOUD_",
    "TKE_",
    "OBS_",
    "HF_",
)
"""Beginnings of the environment variables that credentials come from if the options hold none."""

_GOOGLE_FILE: Final = "~/.config/gcloud/application_default_credentials.json"


def container_digest(secret: bytes, connection: Connection) -> bytes | None:
    """Return the digest of a container: service, options and the identity of the credentials.

    Parameters
    ----------
    secret : bytes
        Key of the digest.
    connection : Connection
        Connection of the container.

    Returns
    -------
    bytes or None
        None while the credentials of a provider have not been fetched.
    """
    source = _source(connection)
    if source is None:
        return None
    # The options name the container too, whether a URL does or not.
    text = json.dumps([connection.service.scheme, sorted(connection.native.items()), source])
    return hashlib.blake2b(text.encode(), key=secret, digest_size=_SIZE).digest()


def key_digest(secret: bytes, container: bytes, key: str, kind: str = "key") -> bytes:
    """Return the digest of a key of a container; `kind` tells what is kept of it apart."""
    text = container + key.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=secret, digest_size=_SIZE, person=kind.encode()).digest()


def version_digest(secret: bytes, key: bytes, connection: Connection, version: Version) -> bytes:
    """Return the digest of a version of the key with a digest.

    An etag that reads can be pinned to names the content alone: a list returns it as a stat does, but not
    the version id.
    """
    etag = strong_etag(connection, version)
    names = [etag, None] if etag else [version.etag, version.version]
    text = json.dumps([key.hex(), *names, version.size])
    return hashlib.blake2b(text.encode(), key=secret, digest_size=_SIZE, person=b"version").digest()


def _source(connection: Connection) -> list[Any] | None:
    """Return where the credentials come from that are not among the options; None if not known yet."""
    if connection.credentials is None:
        return [*_environment(), *_files(connection)]
    provider = connection.credentials.provider.source
    if isinstance(provider, AwsProfile):
        # Its temporary credentials change, the role or account of the profile does not.
        return [provider.profile, *_environment(), *_profile(provider.profile)]
    if not connection.authorized:
        return None
    # Nothing but the credentials themselves tells one user of a function from another.
    return sorted(connection.credential_options().items())


def _environment() -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in os.environ.items() if name.startswith(_VARIABLES))


def _files(connection: Connection) -> list[Any]:
    """Return the content of files that hold the credentials which OpenDAL finds by itself."""
    if connection.service.scheme == "s3" and "access_key_id" not in connection.native:
        return _profile(connection.native.get("profile"))
    path = connection.native.get("credential_path")
    if path is None and connection.service.scheme.startswith("gcs"):
        path = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or os.path.expanduser(_GOOGLE_FILE)
    try:
        with open(path or os.devnull, "rb") as file:
            return [hashlib.sha256(file.read(1 << 20)).hexdigest()]
    except OSError:
        return []


def _profile(name: str | None) -> list[Any]:
    try:
        found, settings = aws.profile_settings(name)
    except OptionError:
        return []
    return [found, sorted(settings.items())]
