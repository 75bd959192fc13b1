"""The server of a filesystem: its name, its port, TLS, and its clock, without credentials."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from .checks import Check, failed, ok, skipped

__all__ = ["Answer", "Server", "check_address", "check_clock", "check_connection", "check_tls", "server_of"]

_SECONDS: Final = 5.0
"""How long one step waits for a server that does not answer."""

_DEFAULTS: Final = {"gcs": "https://storage.googleapis.com"}
_PORTS: Final = {
    "http": 80,
    "https": 443,
    "ftp": 21,
    "ftps": 990,
    "redis": 6379,
    "rediss": 6379,
    "tcp": 11211,
}
_HTTP: Final = ("http", "https")

_REFUSED: Final = timedelta(minutes=15)
"""Services refuse signatures of clocks that differ by more: see "RequestTimeTooSkewed" in the docs of S3."""
_CLOSE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Server:
    """The server that requests go to, or the proxy on the way to it."""

    scheme: str
    host: str
    port: int
    is_proxy: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def url(self, scheme: str) -> str:
        """Return the endpoint with another scheme."""
        return f"{scheme}://{self}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The first bytes that a server sends after a HEAD without credentials, and when they came."""

    data: bytes
    at: datetime

    @property
    def is_http(self) -> bool:
        """Whether it is a response of HTTP, and not one that asks for HTTPS."""
        return self.data.startswith(b"HTTP/") and b"https" not in self.data.lower().partition(b"\r\n\r\n")[2]

    @property
    def date(self) -> datetime | None:
        """The time of the server's clock; None if the answer does not show it."""
        for line in self.data.partition(b"\r\n\r\n")[0].split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"date":
                with suppress(ValueError, TypeError):
                    return parsedate_to_datetime(value.decode("latin-1").strip()).astimezone(UTC)
        return None


def server_of(fs: Any) -> Server | None:
    """Return the server of a filesystem; None if it has none, or only its client knows it."""
    endpoint = fs.endpoint or _DEFAULTS.get(fs.service.scheme)
    if endpoint is None and fs.service.scheme == "s3":
        endpoint = f"https://s3.{fs.native['region']}.amazonaws.com"
    if not endpoint:
        return None
    server = _parse(endpoint if "://" in endpoint else f"https://{endpoint}")
    if server is None:
        # The first request reports it.
        return None
    proxy = urllib.request.getproxies().get(server.scheme)
    if proxy and server.scheme in _HTTP and not urllib.request.proxy_bypass(str(server)):
        found = _parse(proxy if "://" in proxy else f"http://{proxy}")
        if found is not None:
            return replace(server, host=found.host, port=found.port, is_proxy=True)
    return server


def _parse(url: str) -> Server | None:
    """Return the server of a URL; None if the URL names none, or a port that does not exist."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return Server(parts.scheme, parts.hostname, port) if parts.hostname and port is not None else None


def check_address(server: Server) -> Check:
    """Return the addresses of a server's name."""
    with suppress(ValueError):
        ipaddress.ip_address(server.host)
        return ok(f"{server.host} is an address")
    try:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is no valid name"
        return failed(
            f"there is no address for {server.host} ({reason})",
            f"correct the proxy in the environment ({server.host})"
            if server.is_proxy
            else "correct the host in the URL or in -o endpoint=..., or check the network (DNS, VPN)",
        )
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    return ok(f"{server.host} has the address {addresses[0]}" + (", and others" if addresses[1:] else ""))


def check_connection(server: Server) -> Check:
    """Connect to a server."""
    through = " (a proxy of the environment)" if server.is_proxy else ""
    try:
        with socket.create_connection((server.host, server.port), _SECONDS):
            return ok(f"{server}{through} accepts connections")
    except ConnectionRefusedError:
        return failed(
            f"nothing listens on {server}{through}",
            "start the server, or correct host and port: -o endpoint=http://HOST:PORT",
        )
    except TimeoutError:
        return failed(
            f"{server}{through} did not answer within {_SECONDS:.0f} s",
            "check host and port in -o endpoint=..., and whether a firewall or VPN is in the way",
        )
    except OSError as exc:
        return failed(f"cannot connect to {server}{through}: {exc.strerror or exc}", "check the network")


def check_tls(server: Server) -> tuple[Check, Answer | None]:
    """Find out whether a server speaks TLS, as its endpoint says; return its first answer too."""
    if server.is_proxy:
        return skipped("the proxy connects to the server"), None
    if server.scheme == "https":
        return _check_https(server)
    if server.scheme == "http":
        return _check_http(server)
    return skipped(f"{server.scheme}:// is not examined"), None


def _check_https(server: Server) -> tuple[Check, Answer | None]:
    try:
        with (
            socket.create_connection((server.host, server.port), _SECONDS) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=server.host) as secure,
        ):
            version = secure.version()
            return ok(f"{server} has a trusted certificate ({version})"), _answer(secure, server)
    except ssl.SSLCertVerificationError as exc:
        return failed(
            f"the certificate of {server} is not trusted: {exc.verify_message}",
            "set SSL_CERT_FILE to the file of its authority, or correct the host in -o endpoint=...",
        ), None
    except OSError as exc:
        answer = _plain_answer(server)
        if answer is not None and answer.data.startswith(b"HTTP/"):
            return failed(
                f"{server} does not use TLS: the endpoint says https://, the server speaks http://",
                f"-o endpoint={server.url('http')}",
            ), None
        reason = exc.strerror or exc
        return failed(
            f"the TLS handshake with {server} failed: {reason}", "check the port in -o endpoint=..."
        ), None


def _check_http(server: Server) -> tuple[Check, Answer | None]:
    answer = _plain_answer(server)
    if answer is not None and answer.is_http:
        return skipped("not used: the endpoint says http://"), answer
    if _speaks_tls(server):
        return failed(
            f"{server} needs TLS: the endpoint says http://, the server speaks https://",
            f"-o endpoint={server.url('https')}",
        ), None
    return failed(
        f"{server} does not speak HTTP", "check the port in -o endpoint=..., and which server listens there"
    ), None


def _plain_answer(server: Server) -> Answer | None:
    with suppress(OSError), socket.create_connection((server.host, server.port), _SECONDS) as plain:
        return _answer(plain, server)
    return None


def _speaks_tls(server: Server) -> bool:
    context = ssl.create_default_context()
    # Nothing is sent but the handshake, so it does not matter whose certificate it is.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        suppress(OSError),
        socket.create_connection((server.host, server.port), _SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=server.host),
    ):
        return True
    return False


def _answer(connection: socket.socket, server: Server) -> Answer | None:
    """Send a HEAD without credentials, and return what comes first."""
    connection.sendall(f"HEAD / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data and len(data) < 65_536:
        more = connection.recv(65_536)
        if not more:
            break
        data += more
    # A server that needs TLS may say so in a body, even of a HEAD.
    with suppress(OSError):
        connection.settimeout(0.2)
        data += connection.recv(65_536)
    return Answer(data, datetime.now(UTC)) if data else None


def check_clock(answer: Answer | None) -> Check:
    """Compare the clock of this machine with that of the server."""
    date = None if answer is None else answer.date
    if answer is None or date is None:
        return skipped("no server has shown its time")
    skew = answer.at - date
    if abs(skew) < _CLOSE:
        return ok(f"differs by {abs(skew).total_seconds():.0f} s from the server's")
    side = "ahead of" if skew > timedelta(0) else "behind"
    text = f"this machine's clock is {_span(abs(skew))} {side} the server's"
    if abs(skew) < _REFUSED:
        return ok(f"{text}, which is accepted up to 15 minutes")
    return failed(
        f"{text}: signatures are refused beyond 15 minutes",
        "set the clock, as with: timedatectl set-ntp true",
    )


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 60 * 48 else f"{minutes // (60 * 24)} days"
