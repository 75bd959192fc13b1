"""Rules of the state machine: removals, directories, copies and moves."""

from __future__ import annotations

import errno

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.models.base import CLIENTS, FILES, FOLDERS, PATHS, BaseMachine
from tests.models.model import below, inside, parents

__all__ = ["Changes"]


class Changes(BaseMachine):
    """Removals, directories, copies and moves."""

    # Removals

    @rule(who=CLIENTS, path=PATHS, how=st.sampled_from(["rm_file", "rm"]))
    def remove_file(self, who: int, path: str, how: str) -> None:
        listed = any(path in state.files for state in self.info_states(who, path))
        try:
            getattr(self.systems[who], how)(self.at(path))
        except OSError as exc:
            self.check_missing(path, exc)
            return
        # Without a file nothing is removed, which is no error where a cached listing still shows one.
        assert path in self.now.files or listed
        if path in self.now.files:
            self.model.remove(path)
        self.clients[who].changed(path)

    @rule(who=CLIENTS, path=PATHS)
    def remove_tree(self, who: int, path: str) -> None:
        try:
            self.systems[who].rm(self.at(path), recursive=True)
        except FileNotFoundError:
            assert path not in self.now.files
            assert self.now.is_directory(path) is not True
            return
        assert path in self.now.files or self.now.is_directory(path) is not False
        self.model.remove(path, tree=True)
        self.clients[who].changed(path)

    @rule(who=CLIENTS, path=FOLDERS)
    def make_directory(self, who: int, path: str) -> None:
        if not self.model.can_hold(path, directory=True):
            return
        exists = path in self.now.files or self.now.is_directory(path)
        try:
            self.systems[who].mkdir(self.at(path))
        except FileExistsError:
            assert exists is not False
            return
        assert not exists
        self.model.create(path)
        self.clients[who].changed(path)

    @rule(who=CLIENTS, path=FOLDERS)
    def ensure_directory(self, who: int, path: str) -> None:
        if not self.model.can_hold(path, directory=True):
            return
        exists = self.now.is_directory(path)
        self.systems[who].makedirs(self.at(path), exist_ok=True)
        if exists is not True:
            self.model.create(path)
            self.clients[who].changed(path)

    @rule(who=CLIENTS, path=FOLDERS)
    def remove_directory(self, who: int, path: str) -> None:
        files = self.now.files_below(path)
        folders = [p for p in self.now.certain if inside(p, path)]
        try:
            self.systems[who].rmdir(self.at(path))
        except FileNotFoundError:
            assert self.now.is_directory(path) is not True
            assert path not in self.now.files
        except NotADirectoryError:
            assert any(above in self.now.files for above in (path, *parents(path)))
        except OSError as exc:
            assert exc.errno == errno.ENOTEMPTY
            assert any(inside(p, path) for p in (*self.now.files, *self.now.possible))
        else:
            assert not files
            assert not folders
            assert self.now.is_directory(path) is not False
            self.model.remove(path, file=False, tree=True)
            self.clients[who].changed(path)

    # Copies and moves

    @rule(who=CLIENTS, source=FILES, to=FILES, move=st.booleans())
    def copy_file(self, who: int, source: str, to: str, move: bool) -> None:
        if source != to and not self.model.can_hold(to):
            return
        if self.now.is_directory(to) is not False:
            return
        fs = self.systems[who]
        try:
            (fs.mv if move else fs.cp_file)(self.at(source), self.at(to))
        except FileExistsError:
            # A disk creates no directory in the place of a file.
            assert self.storage.kind == "tree"
            assert self.now.is_directory(source)
            assert to in self.now.files
            return
        except OSError as exc:
            self.check_missing(source, exc)
            return
        if source not in self.now.files:
            # A copy of a directory creates a directory.
            assert not move
            assert self.now.is_directory(source) is not False
            if source != to:
                self.model.create(to)
                self.clients[who].changed(to)
            return
        self.model.put({to: self.now.files[source]})
        if move and source != to:
            self.model.remove(source)
            self.clients[who].changed(source)
        self.clients[who].changed(to)

    @rule(who=CLIENTS, source=FILES, to=FOLDERS)
    def move_into(self, who: int, source: str, to: str) -> None:
        path = f"{to}/{source.rpartition('/')[2]}"
        if source not in self.now.files or self.now.is_directory(to) is not True or path == source:
            return
        if not self.model.can_hold(path) or self.now.is_directory(path) is not False or to == source:
            return
        self.systems[who].mv(self.at(source), self.at(to))
        self.model.put({path: self.now.files[source]})
        self.model.remove(source)
        self.clients[who].changed(source, path)

    @rule(who=CLIENTS, source=FOLDERS, to=FOLDERS, move=st.booleans())
    def copy_tree(self, who: int, source: str, to: str, move: bool) -> None:
        if source in self.now.files or to in self.now.files or inside(f"{to}/", source):
            return
        is_directory = self.now.is_directory(to)
        if self.now.is_directory(source) is not True or is_directory is None:
            return
        place = f"{to}/{source.rpartition('/')[2]}" if is_directory else to
        contents = {f"{place}/{below(p, source)}": d for p, d in self.now.files_below(source).items()}
        folders = [p for p in self.now.own if (p == source or inside(p, source)) and p not in self.now.files]
        moved = {f"{place}/{below(p, source)}".rstrip("/"): self.now.own[p] for p in folders}
        if not all(self.model.can_hold(p) for p in contents) or not all(
            self.model.can_hold(p, directory=True) for p in moved
        ):
            return
        if inside(place, source) or inside(source, place) or place == source or self._ambiguous(source):
            return
        fs = self.systems[who]
        (fs.mv if move else fs.cp)(self.at(source), self.at(to), recursive=True)
        self.model.put(contents)
        for folder in moved:
            self.model.create(folder)
            if self.storage.kind == "filer":
                self.model.now.own[folder] = False
        if move:
            self.model.remove(source, file=False, tree=True)
            self.clients[who].changed(source)
        self.clients[who].changed(*contents, *moved)

    def _ambiguous(self, directory: str) -> bool:
        return any(
            inside(path, directory) and self.now.is_directory(path) is not False for path in self.now.files
        )
