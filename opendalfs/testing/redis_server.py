"""Redis with a password, where the operating system has it."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path
from typing import Any

from opendalfs.testing.server_base import HOST, Server, Unavailable, find_program, free_ports

__all__ = ["Redis"]


class Redis(Server):
    """``redis-server`` in memory, which wants a password."""

    name = "redis"
    password = "pw-of-the-tests"

    @property
    def options(self) -> dict[str, Any]:
        """Options in the names of OpenDAL's redis service."""
        return {"endpoint": f"redis://{HOST}:{self.port}", "password": self.password}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = find_program("redis-server")
        if program is None:
            raise Unavailable("redis-server: not installed; apt-get install redis-server")
        (self.port,) = free_ports(1)
        options = ["--port", str(self.port), "--bind", HOST, "--save", "", "--dir", str(directory)]
        return [program, *options, "--requirepass", self.password], []

    def _is_ready(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex((HOST, self.port)) == 0
