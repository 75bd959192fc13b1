"""Hosts of Azure storage accounts: the ones that a URL may name, as in ``container@account.host``."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from .errors import OptionError, redact

__all__ = ["URL_HOST", "account_of", "follow_url", "is_host_of"]

URL_HOST: Final = "url_host"
"""Option that carries the host from a URL to the check against the other options."""

# A host that ends otherwise may be anybody's, and would be sent the account's signature or token.
# learn.microsoft.com: azure/storage/common/storage-account-overview (storage.azure.net: DNS zones),
# azure/azure-government/compare-azure-government-global-azure, azure/china/resources-developer-guide,
# fabric/onelake/onelake-access-api.
_SUFFIXES: Final = (
    "core.windows.net",
    "core.chinacloudapi.cn",
    "core.usgovcloudapi.net",
    "core.cloudapi.de",
    "storage.azure.net",
    "fabric.microsoft.com",
)
_HOST: Final = re.compile(
    # "-secondary" is the account's read-only copy in another region. Hyphens stand in names of OneLake alone.
    r"(?P<account>[a-z0-9][a-z0-9-]*?)(?:-secondary)?\.(?:z\d{1,2}\.)?(?:blob|dfs|file)\."
    rf"(?:{'|'.join(map(re.escape, _SUFFIXES))})",
    re.ASCII,
)


def follow_url(native: dict[str, str], host: str) -> None:
    """Put the account that a URL names into the options.

    Parameters
    ----------
    native : dict of str
        The other options, in OpenDAL's names; ``endpoint`` and ``account_name`` are added where missing.
    host : str
        The host of the URL, as it stands there.

    Raises
    ------
    OptionError
        If the options name another endpoint or account, or if they name no endpoint and the host is not
        one of Azure's.
    """
    shown = redact(f"//{host}").removeprefix("//")
    endpoint = native.get("endpoint")
    if endpoint is not None:
        if not is_host_of(endpoint, host):
            raise OptionError(
                f"the URL names the host {shown!r}, but the options are for {redact(endpoint)!r}: "
                "credentials go to no other host"
            )
        return
    found = _HOST.fullmatch(host.lower())
    if found is None:
        raise OptionError(
            f"{shown!r} is no host of Azure storage: credentials go to a host of your own only if the "
            "options name it too, as in endpoint='https://host'"
        )
    account = native.setdefault("account_name", found["account"])
    if account.lower() != found["account"]:
        raise OptionError(
            f"the URL names the account {found['account']!r}, but the options are for {account!r}: "
            "credentials go to no other account"
        )
    native["endpoint"] = f"https://{host.lower()}"


def account_of(endpoint: str) -> str | None:
    """Return the account that an endpoint of Azure names; None for an endpoint of another host."""
    found = _HOST.fullmatch(urlsplit(endpoint).netloc.lower())
    return None if found is None else found["account"]


def is_host_of(endpoint: str, host: str) -> bool:
    """Whether an endpoint is on a host, which may name a port."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    default = {"http": "80", "https": "443"}.get(parts.scheme, "")
    name, _, port = parts.netloc.rpartition("@")[2].lower().partition(":")
    given, _, given_port = host.lower().partition(":")
    return (name, port or default) == (given, given_port or default)
