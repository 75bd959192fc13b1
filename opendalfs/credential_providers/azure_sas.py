"""Signatures of Azure for the tokens of Microsoft Entra: user delegation SAS.

OpenDAL takes no token for Azure, but a shared access signature. A token gets a key of the account, and the
key signs for one container, here and without a request. Its rights are those of the token's owner, who needs
the action ``generateUserDelegationKey`` of the account: the roles Storage Blob Data Reader, Contributor and
Owner have it, where they are assigned for the account.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import urlencode
from xml.etree import ElementTree

from opendalfs.azure import account_of
from opendalfs.errors import OptionError
from opendalfs.services import Service

__all__ = ["DelegationKey", "request_key"]

# learn.microsoft.com: rest/api/storageservices/get-user-delegation-key, create-user-delegation-sas
_VERSION: Final = "2022-11-02"
_SECONDS: Final = 3600
_SKEW: Final = 300
"""Seconds that the clock of this machine may be ahead of the server's."""

_TIMEOUT: Final = 60.0
_PERMISSIONS: Final = {"azblob": "racwdl", "azdls": "racwdlme"}
_BODY: Final = "<?xml version='1.0' encoding='utf-8'?><KeyInfo><Start>{}</Start><Expiry>{}</Expiry></KeyInfo>"
_FIELDS: Final = (
    "SignedOid",
    "SignedTid",
    "SignedStart",
    "SignedExpiry",
    "SignedService",
    "SignedVersion",
)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Raises for a redirect, which would send the token to another server."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener: Final = urllib.request.build_opener(_NoRedirects)


class DelegationKey(NamedTuple):
    """A key that signs for the containers of one account.

    Parameters
    ----------
    account : str
        Name of the storage account.
    permissions : str
        Letters of the operations that are signed for.
    expires : float
        When it expires, in seconds since the epoch.
    fields : tuple of str
        The identity and the lifetime of the key, in the order of the signature.
    value : str
        The secret, in base64.
    """

    account: str
    permissions: str
    expires: float
    fields: tuple[str, ...]
    value: str

    def __repr__(self) -> str:
        """Return the account and the permissions, without the key."""
        return f"{type(self).__name__}({self.account!r}, {self.permissions!r}, expires={self.expires})"

    def sign(self, container: str) -> str:
        """Return a shared access signature for a container."""
        end = self.fields[3]
        signed = [self.permissions, "", end, f"/blob/{self.account}/{container}", *self.fields]
        # Users, correlation, addresses and protocol; version and kind; snapshot, encryption, five headers.
        signed += ["", "", "", "", "", _VERSION, "c", "", "", "", "", "", "", ""]
        digest = hmac.new(base64.b64decode(self.value), "\n".join(signed).encode(), hashlib.sha256).digest()
        names = ("skoid", "sktid", "skt", "ske", "sks", "skv")
        query = {"sv": _VERSION, "sr": "c", "sp": self.permissions, "se": end}
        query |= dict(zip(names, self.fields, strict=True))
        return urlencode({**query, "sig": base64.b64encode(digest).decode()})


def request_key(token: str, service: Service, native: Mapping[str, str]) -> DelegationKey:
    """Request a key for a token of Microsoft Entra, in the caller's thread.

    Parameters
    ----------
    token : str
        The token.
    service : Service
        The service.
    native : Mapping
        Options with the account and the endpoint.

    Returns
    -------
    DelegationKey

    Raises
    ------
    OptionError
        If the options name no account.
    PermissionError
        If the server refuses the token.
    """
    endpoint = native.get("endpoint", "")
    account = native.get("account_name") or account_of(endpoint)
    if not account or not endpoint:
        raise OptionError("a credential_provider of Azure needs the account: pass account_name=")
    now = time.time()
    body = _BODY.format(_text(now - _SKEW), _text(now + _SECONDS)).encode()
    request = urllib.request.Request(
        f"{endpoint.rstrip('/').replace('.dfs.', '.blob.')}/?restype=service&comp=userdelegationkey",
        data=body,
        headers={
            "Authorization": f"Bearer {token}",
            "x-ms-version": _VERSION,
            "Content-Type": "application/xml",
        },
    )
    try:
        with _opener.open(request, timeout=_TIMEOUT) as response:
            found = ElementTree.fromstring(response.read())
    except urllib.error.HTTPError as exc:
        exc.close()
        code = exc.headers.get("x-ms-error-code", "no error code")
        raise PermissionError(
            errno.EACCES,
            f"{account!r} refused a user delegation key for the token ({exc.code}, {code}): assign the role "
            "Storage Blob Data Contributor for the account",
        ) from None
    fields = tuple(found.findtext(name, "") for name in _FIELDS)
    return DelegationKey(
        account, _PERMISSIONS[service.scheme], now + _SECONDS, fields, found.findtext("Value", "")
    )


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
