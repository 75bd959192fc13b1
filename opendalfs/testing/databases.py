"""Key-value servers and databases that the operating system installs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from opendalfs.testing.server import HOST, Server, free_ports, require_program

__all__ = ["MariaDB", "Memcached", "PostgreSQL", "Redis"]


class _KeyValueServer(Server):
    """A server without HTTP: it is ready once it accepts connections."""

    program: str
    package: str

    def _find(self) -> str:
        return require_program(self.program, f"apt-get install {self.package}")

    def _is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


class Memcached(_KeyValueServer):
    """memcached, in memory. It takes values of up to 32 MiB; by default it would be 1 MiB.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import Memcached
    >>> with Memcached() as server:
    ...     fs = opendalfs.filesystem("memcached", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "memcached"
    program = "memcached"
    package = "memcached"

    @property
    def options(self) -> dict[str, Any]:
        """Options of OpenDAL's memcached service."""
        return {"endpoint": f"tcp://{HOST}:{self.port}"}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        (self.port,) = free_ports(1)
        return [self._find(), "-u", "nobody", "-l", HOST, "-p", str(self.port), "-I", "32m"], []


class PostgreSQL(_KeyValueServer):
    """PostgreSQL with a table ``objects``. Root runs it as the user ``postgres``.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import PostgreSQL
    >>> with PostgreSQL() as server:
    ...     fs = opendalfs.filesystem("postgresql", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "PostgreSQL"
    program = "initdb"
    package = "postgresql"

    def __init__(self) -> None:
        super().__init__()
        self._bin = ""

    @property
    def options(self) -> dict[str, Any]:
        """Options of OpenDAL's postgresql service."""
        url = f"postgresql://postgres@{HOST}:{self.port}/postgres"
        return {"connection_string": url, "table": "objects", "key_field": "key", "value_field": "value"}

    def _as_owner(self, *command: str) -> list[str]:
        if os.name == "posix" and os.geteuid() == 0:
            return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        return list(command)

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        # PATH has a wrapper of psql only.
        known = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        self._bin = os.path.dirname(known[-1] if known else self._find())
        (self.port,) = free_ports(1)
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres")
        data = str(directory / "data")
        make = [f"{self._bin}/initdb", "-D", data, "--auth=trust", "-U", "postgres", "-E", "UTF8"]
        subprocess.run(self._as_owner(*make), check=True, capture_output=True, cwd="/")
        serve = [f"{self._bin}/postgres", "-D", data, "-p", str(self.port), "-k", str(directory)]
        return self._as_owner(*serve, "-c", "fsync=off", "-h", HOST), []

    def _is_ready(self) -> bool:
        table = "create table if not exists objects (key text primary key, value bytea)"
        psql = [f"{self._bin}/psql", "-h", HOST, "-p", str(self.port), "-U", "postgres", "-c", table]
        return subprocess.run(psql, check=False, capture_output=True).returncode == 0


class MariaDB(_KeyValueServer):
    """MariaDB with a table ``objects``.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import MariaDB
    >>> with MariaDB() as server:
    ...     fs = opendalfs.filesystem("mysql", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "MariaDB"
    program = "mariadbd"
    package = "mariadb-server"

    @property
    def options(self) -> dict[str, Any]:
        """Options of OpenDAL's mysql service."""
        url = f"mysql://tester:tester@{HOST}:{self.port}/objects"
        return {"connection_string": url, "table": "objects", "key_field": "key", "value_field": "value"}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        server = self._find()
        install = require_program("mariadb-install-db", f"apt-get install {self.package}")
        require_program("mariadb", f"apt-get install {self.package}")
        (self.port,) = free_ports(1)
        user = "mysql" if os.geteuid() == 0 else os.environ.get("USER", "mysql")
        if os.geteuid() == 0:
            shutil.chown(directory, "mysql")
        data, self._socket = str(directory / "data"), str(directory / "s.sock")
        make = [install, "--no-defaults", f"--user={user}", f"--datadir={data}"]
        subprocess.run([*make, "--auth-root-authentication-method=normal"], check=True, capture_output=True)
        options = [f"--datadir={data}", f"--port={self.port}", f"--socket={self._socket}", f"--user={user}"]
        return [server, "--no-defaults", *options, f"--bind-address={HOST}"], []

    def _is_ready(self) -> bool:
        if not super()._is_ready():
            return False
        make = (
            "create database if not exists objects; "
            "create table if not exists objects.objects "
            "(`key` varchar(255) character set utf8mb4 collate uca1400_nopad_as_cs primary key, "
            "`value` longblob); "
            "create user if not exists 'tester'@'localhost' identified by 'tester'; "
            "grant all on objects.* to 'tester'@'localhost'"
        )
        command = ["mariadb", "--no-defaults", f"--socket={self._socket}", "-u", "root", "-e", make]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


class Redis(_KeyValueServer):
    """``redis-server`` in memory, with a password.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import Redis
    >>> with Redis() as server:
    ...     fs = opendalfs.filesystem("redis", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "redis"
    program = "redis-server"
    package = "redis-server"
    password = "pw-of-the-tests"

    @property
    def options(self) -> dict[str, Any]:
        """Options of OpenDAL's service ``redis``."""
        return {"endpoint": f"redis://{HOST}:{self.port}", "password": self.password}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        (self.port,) = free_ports(1)
        options = ["--port", str(self.port), "--bind", HOST, "--save", "", "--dir", str(directory)]
        return [self._find(), *options, "--requirepass", self.password], []
