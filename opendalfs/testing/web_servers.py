"""WebDAV and FTP servers that run on this machine, each over a directory of its own.

WsgiDAV and pyftpdlib come from PyPI. nginx, Apache, rclone and vsftpd are programs of the operating system;
where one is missing, `Unavailable` names the package.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from opendalfs.testing.server_base import HOST, Server, Unavailable, find_program, free_ports, http_status

__all__ = ["Apache", "FtpServer", "Nginx", "Pyftpdlib", "Rclone", "Vsftpd", "WebdavServer", "WsgiDav"]


USER = "user"
PASSWORD = "pw-of-the-tests"

_SYSTEM_PATH = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"


def _require_program(name: str, package: str) -> str:
    found = find_program(name) or shutil.which(name, path=_SYSTEM_PATH)
    if found is None:
        raise Unavailable(f"{name}: not installed; {package}")
    return found


def _hand_over(directory: Path, user: str) -> None:
    """Let a server that gives up root's rights write to its directory."""
    if os.geteuid() != 0:
        return
    directory.parent.chmod(0o755)
    owner = pwd.getpwnam(user)
    os.chown(directory, owner.pw_uid, owner.pw_gid)


class WebdavServer(Server):
    """A WebDAV server that lets anybody in."""

    concurrency: ClassVar[int | None] = None
    """Requests in flight that the server can stand; None for as many as there are."""

    @property
    def webdav_options(self) -> dict[str, Any]:
        """Options in the names of OpenDAL's webdav service."""
        options: dict[str, Any] = {"endpoint": self.endpoint}
        return options if self.concurrency is None else {**options, "concurrency": self.concurrency}

    def _served(self, directory: Path) -> Path:
        """Make the directory that is served, and choose the port."""
        (self.port,) = free_ports(1)
        served = directory / "served"
        served.mkdir()
        return served

    def _is_ready(self) -> bool:
        return http_status(self.endpoint) is not None


class WsgiDav(WebdavServer):
    """WsgiDAV on cheroot, both from PyPI. Its ten threads starve when many more requests wait for them."""

    name = "WsgiDAV"
    concurrency = 8

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = _require_program("wsgidav", "pip install wsgidav cheroot")
        served = self._served(directory)
        options = ["--host", HOST, "--port", str(self.port), "--root", str(served)]
        return [program, *options, "--auth", "anonymous", "--server", "cheroot", "-q"], []


class Rclone(WebdavServer):
    """``rclone serve webdav``."""

    name = "rclone"

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = _require_program("rclone", "apt-get install rclone")
        served = self._served(directory)
        config = directory / "rclone.conf"
        config.touch()
        options = ["--addr", f"{HOST}:{self.port}", "--config", str(config)]
        return [program, "serve", "webdav", str(served), *options], []


class Nginx(WebdavServer):
    """nginx with ``libnginx-mod-http-dav-ext``."""

    name = "nginx"

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        package = "apt-get install nginx-light libnginx-mod-http-dav-ext"
        program = _require_program("nginx", package)
        modules = [Path(folder) for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")]
        found = [path for folder in modules for path in folder.glob("ngx_http_dav_ext_module.so")]
        if not found:
            raise Unavailable(f"nginx: no dav-ext module; {package}")
        served = self._served(directory)
        config = directory / "nginx.conf"
        config.write_text(self._config(directory, served, found[0]))
        return [program, "-e", str(directory / "error.log"), "-c", str(config)], []

    def _config(self, directory: Path, served: Path, module: Path) -> str:
        temporary = "".join(
            f"{kind}_temp_path {directory / kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""
            {"user root;" if os.geteuid() == 0 else ""}
            load_module {module};
            daemon off;
            worker_processes 1;
            pid {directory / "nginx.pid"};
            events {{ worker_connections 1024; }}
            http {{
                access_log off;
                {temporary}
                client_max_body_size 0;
                server {{
                    listen {HOST}:{self.port};
                    root {served};
                    location / {{
                        dav_methods PUT DELETE MKCOL COPY MOVE;
                        dav_ext_methods PROPFIND OPTIONS;
                        create_full_put_path on;
                        dav_access user:rw;
                    }}
                }}
            }}
        """


class Apache(WebdavServer):
    """Apache with ``mod_dav_fs``."""

    name = "Apache"

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = _require_program("apache2", "apt-get install apache2")
        modules = Path("/usr/lib/apache2/modules")
        served = self._served(directory)
        locks = directory / "locks"
        locks.mkdir()
        for folder in (served, locks):
            _hand_over(folder, "www-data")
        config = directory / "apache.conf"
        config.write_text(self._config(directory, served, modules))
        return [program, "-d", str(directory), "-f", str(config), "-DFOREGROUND"], []

    def _config(self, directory: Path, served: Path, modules: Path) -> str:
        loaded = "".join(
            f"LoadModule {name}_module {modules}/mod_{name}.so\n"
            for name in ("mpm_event", "authz_core", "dav", "dav_fs", "dav_lock")
        )
        return f"""
            {loaded}
            ServerName {HOST}
            Listen {HOST}:{self.port}
            {"User www-data" if os.geteuid() == 0 else ""}
            {"Group www-data" if os.geteuid() == 0 else ""}
            PidFile {directory / "apache.pid"}
            ErrorLog {directory / "error.log"}
            DocumentRoot {served}
            DavLockDB {directory / "locks" / "DavLock"}
            <Directory {served}>
                Require all granted
                Dav On
            </Directory>
        """


class FtpServer(Server):
    """An FTP server with one user."""

    user = USER
    password = PASSWORD

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"ftp://{HOST}:{self.port}"

    @property
    def ftp_options(self) -> dict[str, Any]:
        """Options in the names of OpenDAL's ftp service."""
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
    """The FTP server of the PyPI package ``pyftpdlib``."""

    name = "pyftpdlib"
    reader = "reader"

    @property
    def served(self) -> Path:
        """The directory that is served."""
        assert self._directory is not None
        return self._directory / "served"

    @property
    def reader_options(self) -> dict[str, Any]:
        """The options of a user who may change nothing."""
        return {**self.ftp_options, "user": self.reader}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        (self.port,) = free_ports(1)
        self.served.mkdir()
        script = str(Path(__file__).with_name("ftp_server.py"))
        users = [self.user, self.reader, self.password]
        return [sys.executable, script, HOST, str(self.port), str(self.served), *users], []


class Vsftpd(FtpServer):
    """vsftpd, which wants root's rights, with its anonymous user."""

    name = "vsftpd"
    user = "anonymous"
    password = ""

    @property
    def ftp_options(self) -> dict[str, Any]:
        """Options in the names of OpenDAL's ftp service; vsftpd lets nobody write to its own root."""
        return {**super().ftp_options, "root": "/data"}

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = _require_program("vsftpd", "apt-get install vsftpd")
        if os.geteuid() != 0:
            raise Unavailable("vsftpd: only root can start it")
        (self.port,) = free_ports(1)
        root, empty = directory / "root", directory / "empty"
        for made in (root, empty, root / "data"):
            made.mkdir()
        directory.chmod(0o755)
        _hand_over(root / "data", "ftp")
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
