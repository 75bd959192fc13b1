"""An object in storage, and programs that read it."""

from __future__ import annotations

import pytest

import opendalfs
from opendalfs.testing import S3Server
from tests.runtime.programs import Runner


@pytest.fixture
def path(s3_server: S3Server, prefix: str) -> str:
    path = f"{prefix}/life"
    opendalfs.S3FileSystem(**s3_server.options).pipe_file(path, b"alive" * 1000)
    return path


@pytest.fixture
def runner(s3_server: S3Server, path: str) -> Runner:
    return Runner(s3_server.options, path)
