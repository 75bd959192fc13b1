"""Two clients with cached listings against a model, on three kinds of storage; a third one on S3."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis.stateful import run_state_machine_as_test

import opendalfs
from opendalfs.testing import S3Server
from tests.effort import effort
from tests.models.base import Storage
from tests.models.behind import ChangesBehind
from tests.models.machine import FilesystemMachine

SMALL = {
    "read_chunk": 16,
    "block_size": 8,
    "max_gap": 4,
    "use_listings_cache": True,
    "skip_instance_cache": True,
}


@pytest.mark.parametrize("service", ["memory", "fs"])
def test_two_clients_of_a_local_service(service: str, tmp_path: Path) -> None:
    class Machine(FilesystemMachine):
        @staticmethod
        def make_storage() -> Storage:
            kind = "flat" if service == "memory" else "tree"
            root = uuid4().hex if service == "memory" else str(tmp_path)
            return Storage(kind, lambda: opendalfs.filesystem(service, **SMALL), root)

    run_state_machine_as_test(Machine, settings=effort(10, steps=30))


def test_two_clients_of_s3_and_one_of_another_library(s3_server: S3Server, prefix: str) -> None:
    options = {**SMALL, **s3_server.options, "read_chunk": 64, "block_size": 32}

    class Machine(FilesystemMachine, ChangesBehind):
        always_verify = False
        raw = s3_server.client

        @staticmethod
        def make_storage() -> Storage:
            return Storage("filer", lambda: opendalfs.filesystem("s3", **options), prefix)

    run_state_machine_as_test(Machine, settings=effort(4, steps=30))
