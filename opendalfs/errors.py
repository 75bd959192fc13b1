"""The errors that this package raises, and the removal of secrets from texts.

Errors of OpenDAL are translated to these and to Python's own by `opendalfs.error_translation`.

::

    OSError
    ├── FileNotFoundError       NotFound
    │   └── NoContainerError    a bucket or container that does not exist
    ├── FileExistsError         AlreadyExists; a failed condition of a write
    ├── PermissionError         PermissionDenied; no credentials
    ├── IsADirectoryError       IsADirectory
    ├── NotADirectoryError      NotADirectory
    ├── TimeoutError            no response in time
    ├── ConnectionError         the server cannot be reached
    ├── ChangedError            the object changed after it was opened
    ├── RangeError              a range past the end
    ├── OptionError             also a ValueError: an option is wrong or missing
    └── UnsupportedError        also a NotImplementedError: the service does not support the operation
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = [
    "ChangedError",
    "NoContainerError",
    "OptionError",
    "RangeError",
    "UnsupportedError",
    "redact",
    "redact_endpoint",
    "without_userinfo",
]


class ChangedError(OSError):
    """Raised if an object changed while it was read; the bytes read so far are of an older version.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("fs")
    >>> def read(path):
    ...     try:
    ...         return fs.cat_file(path)
    ...     except opendalfs.ChangedError:
    ...         return fs.cat_file(path)  # of the new version
    """


class NoContainerError(FileNotFoundError):
    """Raised if the bucket or container of a path does not exist.

    Examples
    --------
    >>> import opendalfs
    >>> issubclass(opendalfs.NoContainerError, FileNotFoundError)
    True
    """


class RangeError(OSError):
    """Raised by `opendalfs.read` and `opendalfs.storage` if a range ends after the object.

    Methods of filesystems cut such ranges instead.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("memory")
    >>> fs.pipe_file("doc/range", b"0123456789")
    >>> fs.cat_file("doc/range", start=8, end=100)
    b'89'
    """


class OptionError(OSError, ValueError):
    """Raised if an option is unknown, missing or has a wrong value.

    Examples
    --------
    >>> import opendalfs
    >>> try:
    ...     opendalfs.filesystem("s3", regoin="eu-central-1")
    ... except opendalfs.OptionError as exc:
    ...     print(str(exc).splitlines()[0])
    s3 has no option 'regoin': did you mean 'region'?
    """


class UnsupportedError(OSError, NotImplementedError):
    """Raised if the service does not support an operation.

    Examples
    --------
    >>> import opendalfs
    >>> fs = opendalfs.filesystem("s3", region="eu-central-1", anon=True)
    >>> try:
    ...     fs.ls("")
    ... except opendalfs.UnsupportedError as exc:
    ...     print(exc)
    '' does not name a bucket: write 'opendal+s3://bucket/key' (OpenDAL cannot list the buckets of s3)
    """


# What follows "secret=" in a sentence, as in "secret= without key=: pass both", and is no value.
_SENTENCE: Final = r"[.:;]?\s*$|[ \t]*\n|[.:;]\s|\s+(?-i:[a-z]+)(?:[\s,.:;]|$)"
# A name of a secret, and its value: in quotes up to the closing one, else up to a space or separator.
_SIGNED: Final = re.compile(
    r"((?:(?<![a-z])sig|signature|x-amz-(?:signature|credential|security-token)|token|password|authorization|"
    r"secret(?:_?access)?(?:_?key)?|(?:access|account|private|api)_?key(?:_?(?:id|secret))?)"
    r"\\*[\"']?(?:\s*(?::|%3D|%3A)|\s+=|=(?!" + _SENTENCE + r"))\s*"
    r"(?:b(?=[\"']))?(?P<quote>\\*[\"'])?(?:(?:bearer|basic)\s+)?)"
    r"(?(quote)(?:(?!(?P=quote)).)+|[^&\s\"',}]+)",
    re.I,
)
_PRIVATE_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.S)
# The last @ before the path ends it, as in urlsplit: a password may contain others.
_USERINFO: Final = re.compile(r"(\w://)[^/\s]+@")
_USERINFO_OF_HOST: Final = re.compile(r"^/*[^/\s]+@")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without secrets.

    Parameters
    ----------
    text : str
        Any text, such as an error of OpenDAL, which may contain signed URLs.
    secrets : iterable of str
        Values to replace by ``***``, in addition to signatures and user information in URLs, values that
        stand after the name of a secret, and private keys.

    Returns
    -------
    str
    """
    for secret in secrets:
        text = text.replace(secret, "***")
    return _USERINFO.sub(r"\1***@", _SIGNED.sub(r"\1***", _PRIVATE_KEY.sub("***", text)))


def redact_endpoint(endpoint: str) -> str:
    """Return an endpoint without secrets; it may have a user and a password and no scheme.

    Examples
    --------
    >>> redact_endpoint("me:password@host:21")
    '***@host:21'
    """
    return redact(_USERINFO_OF_HOST.sub("***@", endpoint))


def without_userinfo(text: str, *, endpoint: bool = False) -> str:
    """Return a URL, or with `endpoint` a host, without the user and password before its host."""
    return _USERINFO.sub(r"\1", _USERINFO_OF_HOST.sub("", text) if endpoint else text)
