"""AWS profiles whose credentials OpenDAL cannot get by itself: boto3 gets them."""

from __future__ import annotations

import functools
import importlib.util

from .provider import AwsProfile, CredentialProvider

__all__ = ["has_boto3", "profile_provider"]


def has_boto3() -> bool:
    """Whether boto3 is installed; it is not imported."""
    return importlib.util.find_spec("boto3") is not None


@functools.lru_cache(maxsize=32)
def profile_provider(name: str, region: str, settings: tuple[tuple[str, str], ...]) -> CredentialProvider:
    """Return the provider of a profile.

    Parameters
    ----------
    name : str
        Name of the profile.
    region : str
        As for `AwsProfile`.
    settings : tuple of pairs
        What the files say of it: another provider is returned when they have changed.

    Returns
    -------
    CredentialProvider
        The same one for equal arguments, so that filesystems share its credentials.
    """
    return CredentialProvider(AwsProfile(name, region))
