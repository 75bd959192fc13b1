"""The base class of all servers: a process with free ports, a health check, a log and an end.

`processes/server_supervisor.py` stops the process when this one ends.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

HOST = "127.0.0.1"
BUCKET = "test-bucket"

START_SECONDS = 30.0
START_ATTEMPTS = 5
PROCESSES = Path(__file__).with_name("processes")
_SUPERVISOR = PROCESSES / "server_supervisor.py"
# Below the range of outgoing connections, so that none of them takes a port between our check and the
# server's bind. Servers add at most 10,000 to a port.
_PORTS = range(10_240, 22_768)


class ServerError(RuntimeError):
    """A server did not start; the message contains the end of its log.

    Examples
    --------
    >>> from opendalfs.testing import ServerError, s3_server
    >>> try:
    ...     server = s3_server().start()
    ... except ServerError as error:
    ...     print(error)
    ... else:
    ...     server.stop()
    """


class ServerUnavailable(ServerError):
    """A server cannot run on this machine; the message says what is missing.

    Examples
    --------
    >>> from opendalfs.testing import Nginx, ServerUnavailable
    >>> try:
    ...     server = Nginx().start()
    ... except ServerUnavailable as error:  # nginx: install it with apt-get install nginx-light ...
    ...     print(error)
    ... else:
    ...     server.stop()
    """


def find_program(name: str) -> str | None:
    """Return the path of a program: next to this Python, on the PATH or in ``/usr/sbin``; None if missing."""
    folders = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin")
    return shutil.which(name, path=os.pathsep.join(folders))


def require_program(name: str, install: str) -> str:
    """Return the path of a program.

    Parameters
    ----------
    name : str
        Name of the program.
    install : str
        The command that installs it, for the error.

    Returns
    -------
    str
        The path.

    Raises
    ------
    ServerUnavailable
        The program is not installed.
    """
    found = find_program(name)
    if found is None:
        raise ServerUnavailable(f"the program {name!r} is not installed: {install}")
    return found


def require_module(name: str, install: str) -> None:
    """Raise `ServerUnavailable` unless a Python module is installed; `install` is how to install it."""
    if importlib.util.find_spec(name) is None:
        raise ServerUnavailable(f"the module {name!r} is not installed: {install}")


def change_owner(directory: Path, user: str) -> None:
    """Make `user`, as whom a server runs, the owner of `directory`. Without root, do nothing."""
    if os.geteuid() == 0:
        directory.parent.chmod(0o755)
        shutil.chown(directory, user)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int, offsets: tuple[int, ...] = (0,)) -> list[int]:
    """Return random free ports.

    Parameters
    ----------
    count : int
        Number of ports.
    offsets : tuple of int
        What the server itself adds to a port, at most 10,000: each port plus each offset is free.

    Returns
    -------
    list of int
        The ports, without the offsets.

    Raises
    ------
    ServerError
        There are not so many free ports.
    """
    chosen: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if all(_is_free(port + offset) for offset in offsets):
            chosen.append(port)
            if len(chosen) == count:
                return chosen
    raise ServerError(f"no {count} free ports on {HOST}")


def http_status(endpoint: str, path: str = "/") -> int | None:
    """Send a GET and return the HTTP status.

    Parameters
    ----------
    endpoint : str
        The server's URL.
    path : str
        The path.

    Returns
    -------
    int or None
        The HTTP status; None if there is no response.
    """
    address = endpoint.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Server(ABC):
    """A local server in a process of its own, which stops when this process ends, even when it is killed.

    Attributes
    ----------
    bucket : str
        The bucket or container that exists once the server has started, where the service has any.
    port : int
        The port; 0 before the start.

    Examples
    --------
    >>> from opendalfs.testing import Server, s3_server
    >>> isinstance(s3_server(), Server)
    True
    """

    name: ClassVar[str]
    bucket = BUCKET

    def __init__(self) -> None:
        self.port = 0
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"http://{HOST}:{self.port}"

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Options of `opendalfs.filesystem` for this server."""

    def start(self) -> Self:
        """Start the server and wait until it responds. Other ports are tried when one was taken.

        Returns
        -------
        Self
            The running server.

        Raises
        ------
        ServerUnavailable
            The server's program is not installed.
        ServerError
            It does not start; the message contains the end of its log.
        """
        for attempt in range(START_ATTEMPTS):
            try:
                self._launch()
                return self
            except _EndedError as error:
                if attempt + 1 == START_ATTEMPTS:
                    raise ServerError(str(error)) from None
        raise AssertionError("not reached")

    def stop(self) -> None:
        """Stop the server and remove its data. Stopping twice is no error."""
        process, self._process = self._process, None
        if process is not None:
            # A forked child may hold a copy of this pipe, so closing it might not be enough.
            process.communicate(b"stop")
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self) -> None:
        # The client of a failed attempt has its ports.
        self.__dict__.pop("client", None)
        self._directory = Path(tempfile.mkdtemp(prefix=f"opendalfs-{self.name.lower()}-"))
        try:
            self._process = self._start_process(self._directory)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _start_process(self, directory: Path) -> subprocess.Popen[bytes]:
        argv, remove = self._command(directory)
        order = json.dumps({"argv": argv, "remove": [str(directory), *remove]})
        with (directory / "server.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), order],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                bufsize=0,
                cwd=directory,
                env={**os.environ, **self._environment()},
                start_new_session=True,  # Ctrl-C must not stop the server first
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self._process is not None
            if self._process.poll() is not None:
                raise _EndedError(self._failure("ended while it started"))
            if time.monotonic() > deadline:
                raise ServerError(self._failure(f"does not answer after {START_SECONDS:.0f} s"))
            time.sleep(0.05)

    def _failure(self, what: str) -> str:
        assert self._directory is not None
        log = (self._directory / "server.log").read_text(errors="replace")
        return f"{self.name} {what}; the end of its log:\n" + "\n".join(log.splitlines()[-20:])

    @abstractmethod
    def _command(self, directory: Path) -> tuple[list[str], list[str]]:
        """Choose ports; return the command, and the files that it leaves outside ``directory``."""

    def _environment(self) -> Mapping[str, str]:
        return {}

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the server responds."""


class _EndedError(ServerError):
    """The process ended during its start, most likely because a port was taken."""
