"""Options of the services with buckets, containers or repositories; generated: see tools/."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .common import CommonOptions

__all__ = [
    "AzblobOptions",
    "AzdlsOptions",
    "AzfileOptions",
    "B2Options",
    "CosOptions",
    "GcsGrpcOptions",
    "GcsOptions",
    "HfOptions",
    "ObsOptions",
    "OssOptions",
    "S3Options",
    "SwiftOptions",
    "TosOptions",
    "UpyunOptions",
]


class AzblobOptions(CommonOptions, total=False):
    """Options of `opendalfs.AzblobFileSystem`."""

    account_key: str | None
    account_name: str | None
    anon: bool | None
    batch_max_operations: int | None
    connection_string: str | None
    credential: str | None
    encryption_algorithm: str | None
    encryption_key: str | None
    encryption_key_sha256: str | None
    endpoint: str | None
    root: str | os.PathLike[str] | None
    sas_token: str | None
    skip_signature: bool | None


class AzdlsOptions(CommonOptions, total=False):
    """Options of `opendalfs.AzdlsFileSystem`."""

    account_key: str | None
    account_name: str | None
    authority_host: str | None
    client_id: str | None
    client_secret: str | None
    connection_string: str | None
    credential: str | None
    enable_hns: bool | None
    endpoint: str | None
    root: str | os.PathLike[str] | None
    sas_token: str | None
    tenant_id: str | None


class AzfileOptions(CommonOptions, total=False):
    """Options of `opendalfs.AzfileFileSystem`."""

    account_key: str | None
    account_name: str | None
    connection_string: str | None
    credential: str | None
    endpoint: str | None
    root: str | os.PathLike[str] | None
    sas_token: str | None


class B2Options(CommonOptions, total=False):
    """Options of `opendalfs.B2FileSystem`."""

    application_key: str | None
    application_key_id: str | None
    bucket_id: Mapping[str, str] | str | None
    root: str | os.PathLike[str] | None


class CosOptions(CommonOptions, total=False):
    """Options of `opendalfs.CosFileSystem`."""

    disable_config_load: bool | None
    enable_versioning: bool | None
    endpoint: str | None
    root: str | os.PathLike[str] | None
    secret_id: str | None
    secret_key: str | None
    security_token: str | None


class GcsOptions(CommonOptions, total=False):
    """Options of `opendalfs.GcsFileSystem`."""

    allow_anonymous: bool | None
    anon: bool | None
    credential: str | None
    credential_path: str | None
    default_storage_class: str | None
    disable_config_load: bool | None
    disable_vm_metadata: bool | None
    endpoint: str | None
    endpoint_url: str | None
    predefined_acl: str | None
    project: str | None
    root: str | os.PathLike[str] | None
    scope: str | None
    service_account: str | None
    skip_signature: bool | None
    token: str | os.PathLike[str] | Mapping[str, Any] | None


class GcsGrpcOptions(CommonOptions, total=False):
    """Options of `opendalfs.GcsGrpcFileSystem`."""

    credential: str | None
    credential_path: str | None
    disable_config_load: bool | None
    disable_vm_metadata: bool | None
    endpoint: str | None
    project: str | None
    root: str | os.PathLike[str] | None
    scope: str | None
    service_account: str | None
    skip_signature: bool | None
    token: str | os.PathLike[str] | Mapping[str, Any] | None


class HfOptions(CommonOptions, total=False):
    """Options of `opendalfs.HfFileSystem`."""

    download_mode: str | None
    enable_resolve_cache: bool | None
    endpoint: str | None
    repo_id: str | None
    repo_type: str | None
    revision: str | None
    root: str | os.PathLike[str] | None
    token: str | None


class ObsOptions(CommonOptions, total=False):
    """Options of `opendalfs.ObsFileSystem`."""

    access_key_id: str | None
    enable_versioning: bool | None
    endpoint: str | None
    root: str | os.PathLike[str] | None
    secret_access_key: str | None


class OssOptions(CommonOptions, total=False):
    """Options of `opendalfs.OssFileSystem`."""

    access_key_id: str | None
    access_key_secret: str | None
    addressing_style: str | None
    allow_anonymous: bool | None
    anon: bool | None
    batch_max_operations: int | None
    delete_max_size: int | None
    enable_versioning: bool | None
    endpoint: str | None
    endpoint_url: str | None
    external_id: str | None
    key: str | None
    oidc_provider_arn: str | None
    oidc_token_file: str | None
    presign_addressing_style: str | None
    presign_endpoint: str | None
    role_arn: str | None
    role_session_name: str | None
    root: str | os.PathLike[str] | None
    secret: str | None
    security_token: str | None
    server_side_encryption: str | None
    server_side_encryption_key_id: str | None
    skip_signature: bool | None
    sts_endpoint: str | None
    token: str | None


class S3Options(CommonOptions, total=False):
    """Options of `opendalfs.S3FileSystem`."""

    access_key_id: str | None
    allow_anonymous: bool | None
    anon: bool | None
    assume_role_duration_seconds: int | None
    assume_role_session_tags: Mapping[str, str] | None
    batch_max_operations: int | None
    checksum_algorithm: str | None
    client_kwargs: Mapping[str, Any] | None
    config_kwargs: Mapping[str, Any] | None
    default_acl: str | None
    default_storage_class: str | None
    delete_max_size: int | None
    disable_config_load: bool | None
    disable_ec2_metadata: bool | None
    disable_list_objects_v2: bool | None
    disable_stat_with_override: bool | None
    disable_write_with_if_match: bool | None
    enable_request_payer: bool | None
    enable_versioning: bool | None
    enable_virtual_host_style: bool | None
    enable_write_with_append: bool | None
    endpoint: str | None
    endpoint_url: str | None
    external_id: str | None
    key: str | None
    password: str | None
    profile: str | None
    region: str | None
    region_name: str | None
    requester_pays: bool | None
    role: str | None
    role_arn: str | None
    role_session_name: str | None
    root: str | os.PathLike[str] | None
    s3_additional_kwargs: Mapping[str, Any] | None
    secret: str | None
    secret_access_key: str | None
    server_side_encryption: str | None
    server_side_encryption_aws_kms_key_id: str | None
    server_side_encryption_customer_algorithm: str | None
    server_side_encryption_customer_key: str | None
    server_side_encryption_customer_key_md5: str | None
    session_token: str | None
    skip_signature: bool | None
    token: str | None
    use_ssl: bool | None
    username: str | None
    version_aware: bool | None


class SwiftOptions(CommonOptions, total=False):
    """Options of `opendalfs.SwiftFileSystem`."""

    endpoint: str | None
    root: str | os.PathLike[str] | None
    temp_url_hash_algorithm: str | None
    temp_url_key: str | None
    token: str | None


class TosOptions(CommonOptions, total=False):
    """Options of `opendalfs.TosFileSystem`."""

    access_key_id: str | None
    disable_config_load: bool | None
    endpoint: str | None
    region: str | None
    root: str | os.PathLike[str] | None
    secret_access_key: str | None
    security_token: str | None
    skip_signature: bool | None


class UpyunOptions(CommonOptions, total=False):
    """Options of `opendalfs.UpyunFileSystem`."""

    operator: str | None
    password: str | None
    root: str | os.PathLike[str] | None
