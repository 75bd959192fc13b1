"""Providers of credentials: functions, and objects of boto3, google-auth, azure-identity and Polars."""

from .fetch import Fetched, fetch
from .provider import CredentialProvider

__all__ = ["CredentialProvider", "Fetched", "fetch"]
