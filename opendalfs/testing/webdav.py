"""Local WebDAV servers, each over a directory of its own: WsgiDAV, nginx, Apache and rclone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from opendalfs.testing.server import (
    HOST,
    Server,
    ServerUnavailable,
    change_owner,
    free_ports,
    http_status,
    require_program,
)

__all__ = ["Apache", "Nginx", "Rclone", "WebdavServer", "WsgiDav", "webdav_server"]


class WebdavServer(Server):
    """A WebDAV server without a login.

    Examples
    --------
    >>> from opendalfs.testing import WebdavServer, webdav_server
    >>> isinstance(webdav_server(), WebdavServer)
    True
    """

    concurrency: ClassVar[int | None] = None
    """Limit of requests in flight; None for no limit."""

    @property
    def options(self) -> dict[str, Any]:
        """Options of OpenDAL's service ``webdav``."""
        options: dict[str, Any] = {"endpoint": self.endpoint}
        return options if self.concurrency is None else {**options, "concurrency": self.concurrency}

    def _served(self, directory: Path) -> Path:
        """Create the directory to serve, and choose a port."""
        (self.port,) = free_ports(1)
        served = directory / "served"
        served.mkdir()
        return served

    def _is_ready(self) -> bool:
        return http_status(self.endpoint) is not None


class WsgiDav(WebdavServer):
    """WsgiDAV on cheroot. It has ten threads, and fails with many more requests in flight.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import WsgiDav
    >>> with WsgiDav() as server:
    ...     fs = opendalfs.filesystem("webdav", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "WsgiDAV"
    concurrency = 8

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = require_program("wsgidav", "pip install wsgidav cheroot")
        served = self._served(directory)
        options = ["--host", HOST, "--port", str(self.port), "--root", str(served)]
        return [program, *options, "--auth", "anonymous", "--server", "cheroot", "-q"], []


class Rclone(WebdavServer):
    """``rclone serve webdav``.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import Rclone
    >>> with Rclone() as server:
    ...     fs = opendalfs.filesystem("webdav", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "rclone"

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = require_program("rclone", "apt-get install rclone")
        served = self._served(directory)
        config = directory / "rclone.conf"
        config.touch()
        options = ["--addr", f"{HOST}:{self.port}", "--config", str(config)]
        return [program, "serve", "webdav", str(served), *options], []


class Nginx(WebdavServer):
    """nginx with ``libnginx-mod-http-dav-ext``.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import Nginx
    >>> with Nginx() as server:
    ...     fs = opendalfs.filesystem("webdav", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "nginx"

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        package = "apt-get install nginx-light libnginx-mod-http-dav-ext"
        program = require_program("nginx", package)
        modules = [Path(folder) for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")]
        found = [path for folder in modules for path in folder.glob("ngx_http_dav_ext_module.so")]
        if not found:
            raise ServerUnavailable(f"nginx: no dav-ext module; {package}")
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
    """Apache with ``mod_dav_fs``.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import Apache
    >>> with Apache() as server:
    ...     fs = opendalfs.filesystem("webdav", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """

    name = "Apache"

    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        program = require_program("apache2", "apt-get install apache2")
        modules = Path("/usr/lib/apache2/modules")
        served = self._served(directory)
        locks = directory / "locks"
        locks.mkdir()
        for folder in (served, locks):
            change_owner(folder, "www-data")
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


def webdav_server() -> WsgiDav:
    """Return a WebDAV server, not yet started.

    Returns
    -------
    WsgiDav
        A context manager that starts and stops it.

    Raises
    ------
    ServerUnavailable
        On start: ``wsgidav`` is not installed.

    Examples
    --------
    >>> import opendalfs
    >>> from opendalfs.testing import webdav_server
    >>> with webdav_server() as server:
    ...     fs = opendalfs.filesystem("webdav", **server.options)
    ...     fs.pipe_file("hello.txt", b"hello")
    ...     fs.cat_file("hello.txt")
    b'hello'
    """
    return WsgiDav()
