"""A local emulator of Google Cloud Storage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from opendalfs.testing.server import HOST, PROCESSES, Server, free_ports, http_status, require_module

__all__ = ["GcsEmulator", "gcs_server"]


class GcsEmulator(Server):
    """The API of Google Cloud Storage in memory, by the PyPI package ``gcp-storage-emulator``.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import GcsEmulator
    >>> with GcsEmulator() as server:
    ...     fs = opendalfs.filesystem("gcs", **server.options)
    ...     fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
    ...     fs.cat_file(f"{server.bucket}/hello.txt")
    b'hello'
    """

    name = "GCS"

    @property
    def options(self) -> dict[str, Any]:
        """Options of OpenDAL's service ``gcs``, without the bucket."""
        return {"endpoint": self.endpoint, "skip_signature": True, "disable_vm_metadata": True}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        require_module("gcp_storage_emulator", "pip install gcp-storage-emulator")
        (self.port,) = free_ports(1)
        script = str(PROCESSES / "gcs_emulator.py")
        return [sys.executable, script, HOST, str(self.port), self.bucket], []

    def _is_ready(self) -> bool:
        return http_status(self.endpoint) is not None


def gcs_server() -> GcsEmulator:
    """Return a server with the JSON API of Google Cloud Storage, not yet started.

    Returns
    -------
    GcsEmulator
        A context manager that starts and stops it.

    Raises
    ------
    ServerUnavailable
        On start: ``gcp-storage-emulator`` is not installed.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import gcs_server
    >>> with gcs_server() as server:
    ...     fs = opendalfs.filesystem("gcs", **server.options)
    ...     fs.pipe_file(f"{server.bucket}/hello.txt", b"hello")
    ...     fs.cat_file(f"{server.bucket}/hello.txt")
    b'hello'
    """
    return GcsEmulator()
