"""A state machine of two clients of one storage, checked against a model after each step.

What is checked is what docs/promises.md promises. Content, changes, `find`, patterns of `glob` and `du`
follow what storage holds now. `ls`, `walk`, `info` and what builds on it may show a state that storage had in
the last 30 seconds, but none from before the client's own last change in that directory, and `info` never
misses a file that exists.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from opendalfs import OpendalFileSystem, path_cache
from tests.models.model import Client, Kind, Model, State, below, parents

__all__ = ["BaseMachine", "Storage"]

EXPIRY = 30.0

# Few, so that steps meet: prefixes of one another, and characters that URLs and lists may change.
FILES = st.sampled_from(
    [
        "a",
        "a/b",
        "a/b/c",
        "ab",
        "a-/x",
        "b/ü ñ",
        "b/u\u0308",
        "c d/%41+&=",
        "c d/~'\"#;",
        ".h/.x",
        "c/1",
        "c/2",
        "c/d/3",
    ]
)
FOLDERS = st.sampled_from(["a", "a/b", "a-", "b", "c d", ".h", "c", "c/d", "e", "e/f"])
PATHS = FILES | FOLDERS
CLIENTS = st.integers(0, 1)
ENDS = st.none() | st.integers(-60, 60)
PATTERNS = st.sampled_from(["*", "a*", "c/*", "*/*", "**", "c/**", "[ab]/*", "c/?", "b/*ñ", "a/b/c*"])


class Storage(NamedTuple):
    """Where the machine runs: how directories exist, how to connect, and an unused directory."""

    kind: Kind
    connect: Callable[[], OpendalFileSystem]
    root: str


class Clock:
    """A clock that only the machine moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now


class BaseMachine(RuleBasedStateMachine):
    """Two clients with cached listings, a storage, and what it should hold."""

    make_storage: ClassVar[Callable[[], Storage]]
    always_verify: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.storage = type(self).make_storage()
        self.root = f"{self.storage.root}/{uuid4().hex}"
        self.model = Model(self.storage.kind)
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(path_cache, "time", self.clock)
        self.systems = [self.storage.connect(), self.storage.connect()]
        self.clients = [Client(self.model, EXPIRY), Client(self.model, EXPIRY)]
        self.local = Path(tempfile.mkdtemp(prefix="opendalfs-model-"))
        self.written = 0
        self.readers: list[tuple[Any, list[bytes]]] = []
        self.writers: list[tuple[int, str, Any, bytes]] = []

    # Help

    @property
    def now(self) -> State:
        return self.model.now

    def at(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def name(self, path: str) -> str:
        assert path == self.root or path.startswith(f"{self.root}/"), path
        return below(path, self.root)

    def content(self) -> bytes:
        """Return bytes of a size of their own: without etags a change shows in the size."""
        self.written += 1
        return (b"%d-" % self.written * (20 + self.written))[: 20 + self.written]

    def listing(self, infos: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
        return [(self.name(info["name"]), info["type"], info["size"]) for info in infos]

    def put_into_model(self, who: int, contents: dict[str, bytes]) -> None:
        self.model.put(contents)
        self.clients[who].changed(*contents)

    def info_states(self, who: int, path: str) -> list[State]:
        """Return the states that `info` may show a path in: it looks into the listing of the parent."""
        return self.clients[who].states(path.rpartition("/")[0])

    def check_missing(self, path: str, error: OSError) -> None:
        """Check the error of a call for the file at a path, which there is none of."""
        assert path not in self.now.files, error
        if isinstance(error, IsADirectoryError):
            assert self.now.is_directory(path) is not False
        elif isinstance(error, NotADirectoryError):
            assert any(above in self.now.files for above in parents(path)), error
        else:
            assert isinstance(error, FileNotFoundError), repr(error)
            assert self.now.is_directory(path) is not True, error

    # All of it

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if self.always_verify:
            self.verify()

    def verify(self) -> None:
        """Compare all names and contents, as a client without a cache sees them."""
        fs = self.storage.connect()
        names = fs.find(self.root)
        assert [self.name(name) for name in names] == sorted(self.now.files)
        if names:
            assert fs.cat(names if len(names) > 1 else [names[0]]) == {
                self.at(p): d for p, d in self.now.files.items()
            }

    def teardown(self) -> None:
        try:
            for _, _, file, _ in self.writers:
                file.discard()
                file.close()
            self.verify()
        finally:
            for file, _ in self.readers:
                file.close()
            with suppress(FileNotFoundError):
                self.systems[0].rm(self.root, recursive=True)
            self.patch.undo()
            shutil.rmtree(self.local, ignore_errors=True)
