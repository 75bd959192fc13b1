"""A FileIO for pyiceberg, for the catalog property ``py-io-impl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pyarrow.fs as pafs

from opendalfs import installation
from opendalfs.options import require_server
from opendalfs.services import lookup

installation.require("pyiceberg")

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from . import arrow

__all__ = ["OpendalFileIO"]

_SCHEMES: Final = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "wasb", "wasbs", "oss"})
"""Schemes of pyiceberg that this FileIO serves, besides all that begin with ``opendal``."""

_S3: Final = {
    "s3.endpoint": "endpoint",
    "client.region": "region",
    "s3.region": "region",
    "client.profile-name": "profile",
    "s3.profile-name": "profile",
    "client.access-key-id": "access_key_id",
    "s3.access-key-id": "access_key_id",
    "client.secret-access-key": "secret_access_key",
    "s3.secret-access-key": "secret_access_key",
    "client.session-token": "session_token",
    "s3.session-token": "session_token",
    "client.role-arn": "role_arn",
    "s3.role-arn": "role_arn",
    "client.role-session-name": "role_session_name",
    "s3.role-session-name": "role_session_name",
    "s3.anonymous": "skip_signature",
    "s3.force-virtual-addressing": "enable_virtual_host_style",
    "s3.request-timeout": "io_timeout",
}
_AZURE: Final = {
    "adls.account-host": "endpoint",
    "adls.account-name": "account_name",
    "adls.account-key": "account_key",
    "adls.sas-token": "sas_token",
    "adls.tenant-id": "tenant_id",
    "adls.client-id": "client_id",
    "adls.client-secret": "client_secret",
}
_PROPERTIES: Final[Mapping[str, Mapping[str, str]]] = {
    "s3": _S3,
    "gcs": {"gcs.oauth2.token": "token", "gcs.service.host": "endpoint"},
    "azdls": _AZURE,
    "azblob": {
        k: v for k, v in _AZURE.items() if v in ("endpoint", "account_name", "account_key", "sas_token")
    },
    "oss": {
        "s3.endpoint": "endpoint",
        "s3.access-key-id": "access_key_id",
        "s3.secret-access-key": "access_key_secret",
        "s3.session-token": "security_token",
    },
}
"""The option for each property of pyiceberg, by service; of two for one option the later takes precedence."""

_OPTION_PREFIX: Final = "opendal."


class OpendalFileIO(PyArrowFileIO):
    """Reads and writes the files of Iceberg tables through OpenDAL.

    Parameters
    ----------
    properties : dict
        Properties of the catalog or table: pyiceberg's own for S3, GCS, Azure and OSS, and
        ``opendal.<option>`` for any option of the service, such as ``opendal.retries``. For services whose
        URLs name a server, credentials need ``opendal.endpoint`` as well.

    Examples
    --------
    >>> from pyiceberg.catalog import load_catalog
    >>> catalog = load_catalog(
    ...     "doc",
    ...     **{
    ...         "type": "in-memory",
    ...         "warehouse": "opendal+memory://warehouse",
    ...         "py-io-impl": "opendalfs_arrow.iceberg.OpendalFileIO",
    ...     },
    ... )
    """

    @staticmethod
    def parse_location(location: str, properties: Properties = EMPTY_DICT) -> tuple[str, str, str]:
        """Return the scheme, authority and path of a location; the whole URL as path if it is served here."""
        scheme, netloc, path = PyArrowFileIO.parse_location(location, properties)
        return scheme, netloc, location if _is_served(scheme) else path

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> pafs.FileSystem:
        if not _is_served(scheme):
            return super()._initialize_fs(scheme, netloc)
        options = _options(scheme, self.properties)
        # Locations come from the table's metadata, which another party may have written.
        require_server(lookup(scheme), options)
        return arrow(f"{scheme}://{netloc or ''}", **options)


def _is_served(scheme: str) -> bool:
    return scheme in _SCHEMES or scheme.startswith("opendal")


def _options(scheme: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a service from a catalog's properties."""
    service = lookup(scheme)
    options: dict[str, Any] = {}
    for name, option in _PROPERTIES.get(service.scheme, {}).items():
        value = properties.get(name)
        if value is not None:
            options[option] = value
    host = options.get("endpoint")
    if host and "://" not in host:
        options["endpoint"] = f"https://{host}"
    own = {k.removeprefix(_OPTION_PREFIX): v for k, v in properties.items() if k.startswith(_OPTION_PREFIX)}
    return options | {name.replace("-", "_"): value for name, value in own.items()}
