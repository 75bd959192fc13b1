"""Local FTP servers: pyftpdlib and vsftpd."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from opendalfs.testing.server import (
    HOST,
    PROCESSES,
    Server,
    ServerUnavailable,
    change_owner,
    free_ports,
    require_program,
)

__all__ = ["FtpServer", "Pyftpdlib", "Vsftpd", "ftp_server"]

USER = "user"
PASSWORD = "pw-of-the-tests"


class FtpServer(Server):
    """An FTP server with one user.

    Examples
    --------
    >>> from opendalfs.testing import FtpServer, ftp_server
    >>> isinstance(ftp_server(), FtpServer)
    True
    """

    user = USER
    password = PASSWORD

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return f"ftp://{HOST}:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """Options of OpenDAL's service ``ftp``."""
        return {"endpoint": self.endpoint, "user": self.user, "password": self.password}

    def _is_ready(self) -> bool:
        with closing(socket.socket()) as probe:
            probe.settimeout(2)
            try:
                probe.connect((HOST, self.port))
                return probe.recv(3) == b"220"
            except OSError:
                return False


class Pyftpdlib(FtpServer):
    """The FTP server of the PyPI package ``pyftpdlib``.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import Pyftpdlib
    >>> with Pyftpdlib() as server:
    ...     fs = opendalfs.filesystem("ftp", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "pyftpdlib"
    reader = "reader"

    @property
    def served(self) -> Path:
        """The directory that is served."""
        assert self._directory is not None
        return self._directory / "served"

    @property
    def reader_options(self) -> dict[str, Any]:
        """Options of a user without write permission."""
        return {**self.options, "user": self.reader}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        (self.port,) = free_ports(1)
        self.served.mkdir()
        script = str(PROCESSES / "ftp_server.py")
        users = [self.user, self.reader, self.password]
        return [sys.executable, script, HOST, str(self.port), str(self.served), *users], []


class Vsftpd(FtpServer):
    """vsftpd, which needs root, with its anonymous user.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import Vsftpd
    >>> with Vsftpd() as server:
    ...     fs = opendalfs.filesystem("ftp", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "vsftpd"
    user = "anonymous"
    password = ""

    @property
    def options(self) -> dict[str, Any]:
        """Options of OpenDAL's service ``ftp``; the root of vsftpd is read-only."""
        return {**super().options, "root": "/data"}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = require_program("vsftpd", "apt-get install vsftpd")
        if os.geteuid() != 0:
            raise ServerUnavailable("vsftpd needs root: run as root to start it")
        (self.port,) = free_ports(1)
        root, empty = directory / "root", directory / "empty"
        for made in (root, empty, root / "data"):
            made.mkdir()
        directory.chmod(0o755)
        change_owner(root / "data", "ftp")
        config = directory / "vsftpd.conf"
        config.write_text(self._config(root, empty))
        return [program, str(config)], []

    def _config(self, root: Path, empty: Path) -> str:
        options = {
            "listen": "YES",
            "listen_address": HOST,
            "listen_port": self.port,
            "background": "NO",
            "anonymous_enable": "YES",
            "local_enable": "NO",
            "write_enable": "YES",
            "anon_upload_enable": "YES",
            "anon_mkdir_write_enable": "YES",
            "anon_other_write_enable": "YES",
            "anon_world_readable_only": "NO",
            "anon_umask": "022",
            "no_anon_password": "YES",
            "anon_root": root,
            "force_dot_files": "YES",  # or a directory that holds hidden files looks empty
            "secure_chroot_dir": empty,
            "seccomp_sandbox": "NO",
            "use_localtime": "NO",
            "max_per_ip": 0,
        }
        return "".join(f"{name}={value}\n" for name, value in options.items())


def ftp_server() -> Pyftpdlib:
    """Return an FTP server, not yet started.

    Returns
    -------
    Pyftpdlib
        A context manager that starts and stops it.

    Raises
    ------
    ServerUnavailable
        On start: ``pyftpdlib`` is not installed.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import ftp_server
    >>> with ftp_server() as server:
    ...     fs = opendalfs.filesystem("ftp", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """
    return Pyftpdlib()
