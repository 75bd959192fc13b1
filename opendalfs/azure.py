"""Hosts of Azure storage accounts, which URLs may name as in ``container@account.host``."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from .errors import OptionError, redact

__all__ = ["URL_HOST", "account_of", "follow_url", "is_host_of"]

URL_HOST: Final = "url_host"
"""Option with the host of a URL, which is checked against the other options."""

# Other hosts may belong to anybody, and the account's signature or token would be sent to them.
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
    # "-secondary" is the account's read-only copy in another region. Only names of OneLake contain hyphens.
    r"(?P<account>[a-z0-9][a-z0-9-]*?)(?:-secondary)?\.(?:z\d{1,2}\.)?(?:blob|dfs|file)\."
    rf"(?:{'|'.join(map(re.escape, _SUFFIXES))})",
    re.ASCII,
)


def follow_url(native: dict[str, str], host: str) -> None:
    """Add the account and endpoint of a URL to the options.

    Parameters
    ----------
    native : dict of str
        The other options, in OpenDAL's names; ``endpoint`` and ``account_name`` are added if missing.
    host : str
        The host in the URL.

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
                f"the URL names the host {shown!r}, but the options are for {redact(endpoint)!r}: use one\n"
                "Credentials are sent only to the host of the options."
            )
        return
    found = _HOST.fullmatch(host.lower())
    if found is None:
        raise OptionError(
            f"{shown!r} is not a host of Azure storage: to send credentials there, pass it as "
            "endpoint='https://host' too"
        )
    account = native.setdefault("account_name", found["account"])
    if account.lower() != found["account"]:
        raise OptionError(
            f"the URL names the account {found['account']!r}, but the options are for {account!r}: use one\n"
            "Credentials are sent only to the account of the options."
        )
    native["endpoint"] = f"https://{host.lower()}"


def account_of(endpoint: str) -> str | None:
    """Return the account in an Azure endpoint; None for other hosts."""
    found = _HOST.fullmatch(urlsplit(endpoint).netloc.lower())
    return None if found is None else found["account"]


def is_host_of(endpoint: str, host: str) -> bool:
    """Whether an endpoint is on a host, which may include a port."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    default = {"http": "80", "https": "443"}.get(parts.scheme, "")
    name, _, port = parts.netloc.rpartition("@")[2].lower().partition(":")
    given, _, given_port = host.lower().partition(":")
    return (name, port or default) == (given, given_port or default)
