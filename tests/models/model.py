"""What storage holds after each change, and which of its states a client's cached listings may show.

A directory exists because a file below it implies it, or by itself. Kinds of storage differ in the latter:

- ``flat``: a directory exists by itself only if it was created (a marker); a name can be both a file and a
  directory.
- ``tree``: a local disk; a directory stays until it is removed.
- ``filer``: SeaweedFS; a directory may stay, or be gone, after its last file was removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Client", "Model", "State", "below", "inside", "parents"]

Kind = Literal["flat", "tree", "filer"]


def parents(path: str) -> Iterator[str]:
    """Yield the directories above a path, without the root."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def inside(path: str, directory: str) -> bool:
    """Whether a path is below a directory; every path is below the root."""
    return directory == "" or path.startswith(f"{directory}/")


def below(path: str, directory: str) -> str:
    """Return a path relative to a directory above it."""
    return path[len(directory) + 1 :] if directory else path


@dataclass(frozen=True)
class State:
    """What storage holds between two changes.

    Parameters
    ----------
    files : dict
        Contents by path.
    own : dict
        Directories that exist by themselves; False for those that may be gone.
    time : float
        When the state began.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    own: dict[str, bool] = field(default_factory=dict)
    time: float = 0

    @property
    def certain(self) -> set[str]:
        """Directories that exist."""
        sure = [path for path, certain in self.own.items() if certain]
        return {*sure, *(above for path in (*self.files, *sure) for above in parents(path))}

    @property
    def possible(self) -> set[str]:
        """Directories that exist, or may."""
        return self.certain | {above for path in self.own for above in (path, *parents(path))}

    def is_directory(self, path: str) -> bool | None:
        """Whether a path is a directory; None if that is open."""
        if path == "" or path in self.certain:
            return True
        return None if path in self.possible else False

    def files_below(self, directory: str, depth: int | None = None) -> dict[str, bytes]:
        """Return the contents of all files below a directory, at most `depth` levels deep."""
        return {
            p: data for p, data in self.files.items() if inside(p, directory) and _within(p, directory, depth)
        }

    def lists(self, directory: str, found: list[tuple[str, str, int]], depth: int | None = 1) -> bool:
        """Whether a listing of (path, type, size) shows this state."""
        files = sorted((path, size) for path, kind, size in found if kind == "file")
        folders = sorted(path for path, kind, _ in found if kind == "directory")
        certain = {p for p in self.certain if inside(p, directory) and _within(p, directory, depth)}
        return (
            files == sorted((p, len(data)) for p, data in self.files_below(directory, depth).items())
            and len(folders) == len(set(folders))
            and certain <= set(folders) <= self.possible
        )


def _within(path: str, directory: str, depth: int | None) -> bool:
    return depth is None or below(path, directory).count("/") < depth


class Model:
    """All states of storage since it was empty; the last one is now.

    Parameters
    ----------
    kind : str
        How directories exist.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.states = [State()]
        self.time = 0.0

    @property
    def now(self) -> State:
        """The current state."""
        return self.states[-1]

    def can_hold(self, path: str, *, directory: bool = False) -> bool:
        """Whether a file, or a directory, can be created at a path, whatever else exists."""
        if self.kind == "flat":
            return True
        taken = self.now.files if directory else self.now.possible
        return path not in taken and not any(above in self.now.files for above in parents(path))

    def put(self, contents: dict[str, bytes]) -> None:
        """Write files."""
        own = dict(self.now.own)
        if self.kind != "flat":
            for path in contents:
                for above in parents(path):
                    own[above] = self.kind == "tree" or own.get(above, False)
        self._add({**self.now.files, **contents}, own)

    def create(self, directory: str) -> None:
        """Create a directory."""
        own = dict(self.now.own)
        own[directory] = True
        if self.kind != "flat":
            for above in parents(directory):
                own[above] = self.kind == "tree" or own.get(above, False)
        self._add(self.now.files, own)

    def remove(self, path: str, *, file: bool = True, tree: bool = False) -> None:
        """Remove a file, or a directory with all that is below it, or both."""
        files = {
            p: d
            for p, d in self.now.files.items()
            if not (file and p == path) and not (tree and inside(p, path))
        }
        own = {p: sure for p, sure in self.now.own.items() if not (tree and (p == path or inside(p, path)))}
        if self.kind == "filer":
            own |= dict.fromkeys((above for above in parents(path) if above in own), False)
        self._add(files, own)

    def _add(self, files: dict[str, bytes], own: dict[str, bool]) -> None:
        self.states.append(State(files, own, self.time))


class Client:
    """One client: which states its cached listings may show.

    It sees its own changes at once, and those of others after `expiry` seconds at the latest.

    Parameters
    ----------
    model : Model
        The storage.
    expiry : float
        Seconds that it caches listings.
    """

    def __init__(self, model: Model, expiry: float) -> None:
        self._model = model
        self._expiry = expiry
        self._seen: dict[str, int] = {}

    def changed(self, *paths: str) -> None:
        """Record that this client has changed paths, or has invalidated their listings; ``""`` is all."""
        for path in paths:
            self._seen[path] = len(self._model.states) - 1

    def states(self, directory: str) -> list[State]:
        """Return the states that a cached listing of a directory may show."""
        related = [
            i
            for path, i in self._seen.items()
            if path == directory or inside(path, directory) or inside(directory, path)
        ]
        first = max(related, default=0)
        states = self._model.states
        oldest = self._model.time - self._expiry
        return [
            state
            for i, state in enumerate(states)
            if i >= first and (i == len(states) - 1 or states[i + 1].time > oldest)
        ]
