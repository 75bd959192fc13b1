"""Parts of the proxy: paced sockets that splice, HTTP heads, and counters."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

PIECE = 1 << 20
HEAD_PIECE = 1 << 16
SO_MAX_PACING_RATE = 47
UNLIMITED = 0xFFFFFFFF


class ConnectionClosed(Exception):
    """The other end closed its connection."""


@dataclass
class Traffic:
    """Counters of all connections."""

    requests: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    peak: int = 0
    slow: int = 0
    _in_flight: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextlib.contextmanager
    def request(self, method: str) -> Iterator[None]:
        """Count a request, as in flight until the block ends."""
        with self._changed:
            self.requests[method] += 1
            self._in_flight += 1
            self.peak = max(self.peak, self._in_flight)
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def connected(self) -> None:
        """Count a connection."""
        with self._changed:
            self.connections += 1

    def slowed(self) -> None:
        """Count a request of the tail."""
        with self._changed:
            self.slow += 1

    def add(self, what: Counter[str], key: str, amount: int) -> None:
        """Add an amount to one of the counters."""
        with self._changed:
            what[key] += amount

    def report(self, settle: float) -> dict[str, Any]:
        """Return the counters once no request is in flight, or after ``settle`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight, timeout=settle)
            names = ("requests", "sent", "received", "failures", "connections", "peak", "slow")
            figures = {name: getattr(self, name) for name in names}
            return {**figures, "cpu": time.process_time()}

    def reset(self) -> None:
        """Set the counters to zero; requests in flight stay in flight."""
        with self._changed:
            for counter in (self.requests, self.sent, self.received, self.failures):
                counter.clear()
            self.connections, self.peak, self.slow = 0, self._in_flight, 0


@dataclass
class Speed:
    """Latency in seconds, bandwidth in bytes per second (0 for no limit), and whether Python paces.

    A random share of `tail` of the requests is `factor` times slower.
    """

    latency: float
    bandwidth: float
    portable: bool
    tail: float = 0.0
    factor: float = 1.0
    # Seeded, so that runs repeat.
    random: Random = field(default_factory=lambda: Random(1))

    def draw(self) -> float:
        """Return how many times slower the next request is."""
        return self.factor if self.tail and self.random.random() < self.tail else 1.0


class Pacer:
    """Limits the bandwidth of one direction of one connection."""

    def __init__(self, speed: Speed, target: socket.socket) -> None:
        self._speed = speed
        self._target = target
        self._rate = 0.0
        self._by_kernel = not speed.portable
        self._due = 0.0

    def prepare(self, slower: float = 1.0) -> None:
        """Apply the bandwidth that is set now, for a request that is `slower` times slower."""
        rate = self._speed.bandwidth / slower
        if self._rate == rate:
            return
        self._rate = rate
        if self._by_kernel:
            rate = int(self._rate) or UNLIMITED
            packed = struct.pack("=I", min(rate, UNLIMITED))
            self._target.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, packed)

    def sent(self, amount: int) -> None:
        """Sleep as long as ``amount`` bytes take, where the kernel does not pace."""
        if self._by_kernel or not self._rate:
            return
        now = time.monotonic()
        self._due = max(self._due, now) + amount / self._rate
        time.sleep(self._due - now)


@dataclass
class Head:
    """The first lines of a request or a response."""

    raw: bytes
    first: list[str]
    fields: dict[str, str]

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        """Parse the lines; the last one of a repeated field counts."""
        first, *lines = raw.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        fields = {name.strip().lower(): value.strip().lower() for name, _, value in pairs}
        return cls(raw, first.split(" ", 2), fields)

    @property
    def length(self) -> int | None:
        """The ``Content-Length``, or None."""
        value = self.fields.get("content-length")
        return None if value is None else int(value)

    @property
    def chunked(self) -> bool:
        """Whether the body is chunked."""
        return "chunked" in self.fields.get("transfer-encoding", "")

    @property
    def closes(self) -> bool:
        """Whether the sender closes the connection afterwards."""
        value = self.fields.get("connection", "")
        return "close" in value or ("HTTP/1.0" in self.first and "keep-alive" not in value)

    def edited(self, first: str | None = None, **fields: str | int | None) -> Head:
        """Return a copy with another first line and other fields: ``_`` for ``-``, None removes one."""
        changes = {name.replace("_", "-"): value for name, value in fields.items()}
        old, *lines = self.raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        kept = [line for line in lines if line.partition(":")[0].strip().lower() not in changes]
        added = [f"{name}: {value}" for name, value in changes.items() if value is not None]
        return Head.parse("\r\n".join([first or old, *kept, *added, "", ""]).encode("latin-1"))


class Connection:
    """One end of a relayed connection: a socket, bytes read too early, and a pipe for `os.splice`."""

    def __init__(self, sock: socket.socket, speed: Speed) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.pacer = Pacer(speed, sock)
        self._move = self._copy if speed.portable else self._splice
        self._early = bytearray()
        self._pipe: tuple[int, int] | None = None

    def close(self) -> None:
        """Close the socket and the pipe."""
        self.sock.close()
        for end in self._pipe or ():
            os.close(end)
        self._pipe = None

    def shut(self) -> None:
        """Shut the socket down, from any thread: a thread that reads from it sees its end."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close the socket so that the other end sees a reset instead of an end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def closes_within(self, seconds: float | None) -> bool:
        """Wait; return True as soon as the other end closes or sends anything, False after `seconds`."""
        self.sock.settimeout(seconds)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            return True
        finally:
            with contextlib.suppress(OSError):
                self.sock.settimeout(None)
        return True

    def is_idle_and_open(self) -> bool:
        """Whether the other end has neither closed nor sent anything."""
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``."""
        self.sock.sendall(data)
        self.pacer.sent(len(data))

    def read_until(self, mark: bytes) -> bytes:
        """Read up to and including ``mark``; raise `ConnectionClosed` at the end of the stream."""
        while (end := self._early.find(mark)) < 0:
            data = self.sock.recv(HEAD_PIECE)
            if not data:
                raise ConnectionClosed
            self._early += data
        return bytes(self._take(end + len(mark)))

    def unread(self, data: bytes) -> None:
        """Put data back, to be read next."""
        self._early[:0] = data

    def read(self, limit: int) -> bytes:
        """Read at most `limit` bytes; raise `ConnectionClosed` at the end of the stream."""
        data = bytes(self._take(limit)) or self.sock.recv(limit)
        if not data:
            raise ConnectionClosed
        return data

    def read_exactly(self, size: int) -> bytes:
        """Read `size` bytes."""
        pieces = []
        while size:
            pieces.append(self.read(size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def read_chunks(self) -> Iterator[bytes]:
        """Read a chunked body with its trailers; yield its chunks."""
        while size := int(self.read_until(b"\r\n").split(b";")[0], 16):
            yield self.read_exactly(size)
            self.read_until(b"\r\n")
        while self.read_until(b"\r\n") != b"\r\n":
            pass

    def skip(self, size: int) -> None:
        """Read `size` bytes and drop them."""
        while size:
            size -= len(self.read(min(size, PIECE)))

    def _take(self, size: int) -> bytearray:
        taken = self._early[:size]
        del self._early[:size]
        return taken

    def relay(self, target: Connection, size: int, count: Callable[[int], None]) -> None:
        """Send the next ``size`` bytes to ``target``; count each piece before it is sent."""
        early = self._take(size)
        if early:
            count(len(early))
            target.send(early)
        left = size - len(early)
        while left:
            left -= self._move(target, left, count)

    def relay_to_end(self, target: Connection, count: Callable[[int], None]) -> None:
        """Send everything to ``target`` until this end closes."""
        self.relay(target, len(self._early), count)
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._copy(target, PIECE, count)

    def relay_chunks(self, target: Connection, count: Callable[[int], None]) -> None:
        """Send a chunked body with its trailers; count the payload only."""
        while True:
            line = self.read_until(b"\r\n")
            target.send(line)
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            self.relay(target, size, count)
            target.send(self.read_until(b"\r\n"))
        while (line := self.read_until(b"\r\n")) != b"\r\n":
            target.send(line)
        target.send(line)

    def _copy(self, target: Connection, limit: int, count: Callable[[int], None]) -> int:
        data = self.sock.recv(min(limit, PIECE))
        if not data:
            raise ConnectionClosed
        count(len(data))
        target.send(data)
        return len(data)

    def _splice(self, target: Connection, limit: int, count: Callable[[int], None]) -> int:
        if self._pipe is None:
            self._pipe = _open_pipe()
        outlet, inlet = self._pipe
        moved = os.splice(self.sock.fileno(), inlet, min(limit, PIECE))
        if not moved:
            raise ConnectionClosed
        count(moved)
        left = moved
        while left:
            left -= os.splice(outlet, target.sock.fileno(), left)
        target.pacer.sent(moved)
        return moved


def _open_pipe() -> tuple[int, int]:
    import fcntl  # not on Windows

    outlet, inlet = os.pipe()
    with contextlib.suppress(OSError):  # the limit of pipe memory of this user is reached
        fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, PIECE)
    return outlet, inlet
