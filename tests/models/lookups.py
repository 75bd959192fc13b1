"""Rules of the state machine: listings and lookups, which may come from a cache or not."""

from __future__ import annotations

import re

from fsspec.utils import glob_translate
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.models.base import CLIENTS, FOLDERS, PATHS, PATTERNS, BaseMachine
from tests.models.model import inside

__all__ = ["Lookups"]


class Lookups(BaseMachine):
    """Listings and lookups."""

    # Lookups that follow storage

    @rule(who=CLIENTS, path=st.just("") | PATHS, depth=st.none() | st.integers(1, 3))
    def find(self, who: int, path: str, depth: int | None) -> None:
        found = self.systems[who].find(self.at(path), maxdepth=depth, withdirs=True, detail=True)
        infos = [i for i in self.listing(list(found.values())) if i[:2] != (path, "directory")]
        if path in self.now.files and not self.now.files_below(path) and not self.now.is_directory(path):
            infos = [i for i in infos if i[:2] == (path, "file")]
            assert infos == [(path, "file", len(self.now.files[path]))]
            return
        # A name of both is listed as the file.
        both = {p for p in self.now.files if self.now.is_directory(p) is not False and inside(p, path)}
        infos += [(p, "directory", 0) for p in both if any(i[0] == p for i in infos)]
        assert self.now.lists(path, infos, depth), (infos, self.now)
        assert list(found) == sorted(found)

    @rule(who=CLIENTS, path=st.just("") | FOLDERS)
    def disk_usage(self, who: int, path: str) -> None:
        if path not in self.now.files:
            assert self.systems[who].du(self.at(path)) == sum(map(len, self.now.files_below(path).values()))

    @rule(who=CLIENTS, pattern=PATTERNS)
    def glob(self, who: int, pattern: str) -> None:
        found = {self.name(p) for p in self.systems[who].glob(self.at(pattern))} - {""}
        match = re.compile(glob_translate(pattern)).match
        slash = "/" if pattern.endswith("/**") else ""
        matching = {p for p in self.now.files if match(p)} | {p for p in self.now.certain if match(p + slash)}
        assert matching <= found <= matching | {p for p in self.now.possible if match(p + slash)}

    # Lookups that may be answered by a cached listing

    @rule(who=CLIENTS, path=st.just("") | PATHS, refresh=st.booleans())
    def ls(self, who: int, path: str, refresh: bool) -> None:
        states = [self.now] if refresh else self.clients[who].states(path)
        try:
            infos = self.listing(self.systems[who].ls(self.at(path), refresh=refresh))
        except FileNotFoundError:
            assert path not in self.now.files
            assert path == "" or self.now.is_directory(path) is not True
            return
        if infos and infos[0][0] == path:
            assert infos == [(path, "file", len(self.now.files[path]))]
            return
        assert any(state.is_directory(path) is not False and state.lists(path, infos) for state in states), (
            infos
        )

    @rule(who=CLIENTS, path=st.just("") | FOLDERS, topdown=st.booleans())
    def walk(self, who: int, path: str, topdown: bool) -> None:
        for top, folders, files in self.systems[who].walk(self.at(path), topdown=topdown, detail=True):
            infos = self.listing([*folders.values(), *files.values()])
            states = self.clients[who].states(self.name(top))
            if path in self.now.files and infos == [(path, "file", len(self.now.files[path]))]:
                # fsspec walks a file as a directory with an entry without a name.
                continue
            if not infos and self.now.is_directory(self.name(top)) is False:
                continue
            assert any(state.lists(self.name(top), infos) for state in states), (top, infos)

    @rule(who=CLIENTS, path=PATHS, refresh=st.booleans())
    def info(self, who: int, path: str, refresh: bool) -> None:
        states = [self.now] if refresh else self.info_states(who, path)
        try:
            info = self.systems[who].info(self.at(path), refresh=refresh)
        except FileNotFoundError:
            assert path not in self.now.files
            assert self.now.is_directory(path) is not True
            return
        assert self.name(info["name"]) == path
        if info["type"] == "file":
            assert info["size"] in [len(state.files[path]) for state in states if path in state.files]
        else:
            assert any(state.is_directory(path) is not False and path not in state.files for state in states)

    @rule(who=CLIENTS, path=PATHS)
    def tests_of_existence(self, who: int, path: str) -> None:
        fs, name, states = self.systems[who], self.at(path), self.info_states(who, path)
        files = {path in state.files for state in states}
        folders = {state.is_directory(path) for state in states}
        either = {True, False} if None in folders else folders
        assert fs.isfile(name) in files
        assert fs.isdir(name) in either
        assert fs.exists(name) in {one or two for one in files for two in either}
        if path in self.now.files or self.now.is_directory(path):
            # No cached listing hides what another client has created.
            assert fs.exists(name)

    @rule(who=CLIENTS, path=st.none() | PATHS)
    def invalidate(self, who: int, path: str | None) -> None:
        self.systems[who].invalidate_cache(None if path is None else self.at(path))
        self.clients[who].changed(path or "")

    @rule(seconds=st.sampled_from([1.0, 10.0, 29.0, 30.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.model.time += seconds
