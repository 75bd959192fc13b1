"""Sentences for what storage answers, and the options that mend it."""

from __future__ import annotations

import re
from typing import Any, Final

from opendalfs.credential_report import report
from opendalfs.errors import NoContainerError, redact_endpoint
from opendalfs_cli.failures import describe

from .checks import Check, failed, ok, skipped

__all__ = ["check_credentials", "explain"]

_CODES: Final = (
    (
        r"InvalidAccessKeyId|does not exist in our records",
        "the server does not know the access key id",
        "pass the key id of this server: -o key=..., with its -o secret=..., or -o profile=...",
    ),
    (
        r"SignatureDoesNotMatch",
        "the secret key does not belong to the access key id",
        "pass the secret of this key: -o secret=..., or -o profile=...",
    ),
    (
        r"RequestTimeTooSkewed|RequestExpired",
        "the server refuses the signature, as its clock differs too much from this machine's",
        "set the clock, as with: timedatectl set-ntp true",
    ),
    (
        r"ExpiredToken|credentials have expired",
        "the credentials have expired",
        "renew them, as with: aws sso login",
    ),
    (
        r"AuthenticationFailed|InvalidAuthenticationInfo|Server failed to authenticate",
        "the server refuses the account key or token",
        "pass the key of this account: -o account_key=..., or -o sas_token=...",
    ),
)
_REGION: Final = re.compile(r"pass region='([\w-]+)'")
_FOUND: Final = re.compile(r"(?:^|, )([^()]+?) \(([^)]*)\)")
_ABSENT: Final = ("absent", "not used", "no such file", "has no credentials", "asked", "set, but there is no")
_NO_SECRET: Final = ("AWS_PROFILE", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_CLIENT_ID")


def check_credentials(fs: Any) -> Check:
    """Return where the credentials of a filesystem come from."""
    if "true" in (fs.native.get("skip_signature"), fs.native.get("allow_anonymous")):
        return skipped("anonymous: requests are not signed")
    text = report(fs.service, fs.native, None if fs.provider is None else fs.provider.name)
    if text is None:
        return skipped(f"{fs.service.scheme} has none but those in its options")
    if text.startswith("Credentials: "):
        return ok(f"from {text.removeprefix('Credentials: ').partition('. To use others')[0].rstrip('.')}")
    places, _, advice = text.removeprefix("Looked for credentials in: ").partition(". Pass ")
    pairs = _FOUND.findall(places)
    found = [pair for pair in pairs if not pair[1].startswith(_ABSENT) and pair[0] not in _NO_SECRET]
    if found:
        return ok(f"from {found[0][0]} ({found[0][1]})")
    if any(place == "instance metadata" and state.startswith("asked") for place, state in pairs):
        return ok("none in options, environment and files: the role of this machine is used, if it has one")
    return failed(
        "no credentials in options, environment and files", f"pass {_on_command_line(advice)}, each with -o"
    )


def _on_command_line(advice: str) -> str:
    """Return the advice of an error without what only Python code can pass."""
    return advice.replace("credential_provider, ", "").replace(" or credential_provider", "").rstrip(".")


def explain(exc: Exception, fs: Any, container: str) -> Check:
    """Return the sentence for an error of storage, and the option that mends it."""
    text = _texts(exc)
    if found := _REGION.search(text):
        return failed(f"the bucket is in the region {found.group(1)}", f"-o region={found.group(1)}")
    if isinstance(exc, NoContainerError) or "NoSuchBucket" in text:
        kind = fs.service.container or "container"
        return failed(
            f"there is no {kind} {container!r} on {redact_endpoint(fs.endpoint or 'the service')}",
            f"correct the {kind} in the URL, or the server: -o endpoint=...",
        )
    for pattern, sentence, advice in _CODES:
        if re.search(pattern, text):
            return failed(sentence, advice)
    if "No usable credentials" in text:
        return failed(
            "no credentials were found, not even those of this machine",
            "pass key and secret, profile, or anon=true, each with -o",
        )
    if isinstance(exc, PermissionError):
        return failed(
            "access is denied, and the server gives no reason",
            "check the keys, and whether they may list and read here",
        )
    return failed(describe(exc)[0].partition("; 'opendalfs doctor")[0])


def _texts(exc: BaseException) -> str:
    """Return the texts of an error and its causes, which have no secrets."""
    texts: list[str] = []
    cause: BaseException | None = exc
    while cause is not None and len(texts) < 10:
        texts.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return "\n".join(texts)
