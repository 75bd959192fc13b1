"""Rules of the state machine: content, read whole, by ranges and through open files."""

from __future__ import annotations

import shutil
from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.stateful import rule

from opendalfs import ChangedError
from tests.models.base import CLIENTS, ENDS, FILES, FOLDERS, PATHS, BaseMachine
from tests.models.model import below

__all__ = ["Content"]


class Content(BaseMachine):
    """Reads of content."""

    # Content

    @rule(
        who=CLIENTS, path=PATHS, start=ENDS, end=ENDS, how=st.sampled_from(["cat", "ranges", "open", "get"])
    )
    def read(self, who: int, path: str, start: int | None, end: int | None, how: str) -> None:
        fs, name = self.systems[who], self.at(path)
        try:
            if how == "cat":
                found = fs.cat_file(name, start, end)
            elif how == "ranges":
                found = fs.cat_ranges([name, name], [start, 0], [end, None], on_error="raise")[0]
            elif how == "get":
                if self.now.is_directory(path) is not False:
                    return
                fs.get_file(name, str(self.local / "down"))
                found = (self.local / "down").read_bytes()[start:end]
            else:
                with fs.open(name, "rb") as file:
                    found = file.read()[start:end]
        except ChangedError:
            # Only a file object is pinned to what a cached listing shows.
            assert how == "open"
            assert len(self.info_states(who, path)) > 1
            return
        except OSError as exc:
            if how == "open" and any(
                path in s.own or path in s.possible for s in self.info_states(who, path)
            ):
                return
            if how != "ranges" or not self.now.is_directory(path):
                self.check_missing(path, exc)
            assert path not in self.now.files
            return
        assert path in self.now.files
        assert found == self.now.files[path][start:end]

    @rule(who=CLIENTS, paths=st.lists(FILES, min_size=2, max_size=5, unique=True))
    def read_many(self, who: int, paths: list[str]) -> None:
        found = self.systems[who].cat([self.at(path) for path in paths], on_error="omit")
        assert {self.name(p): d for p, d in found.items()} == {
            p: self.now.files[p] for p in paths if p in self.now.files
        }

    @rule(who=CLIENTS, path=FILES)
    def open_reader(self, who: int, path: str) -> None:
        if len(self.readers) < 3:
            states = self.info_states(who, path)
            with suppress(FileNotFoundError, IsADirectoryError):
                file = self.systems[who].open(self.at(path), "rb")
                self.readers.append((file, [s.files[path] for s in states if path in s.files]))

    @rule(which=st.integers(0, 2), offset=st.integers(0, 60), size=st.integers(0, 60))
    def read_open_file(self, which: int, offset: int, size: int) -> None:
        if which >= len(self.readers):
            return
        file, versions = self.readers[which]
        try:
            file.seek(min(offset, file.size))
            found = file.read(size)
        except (ChangedError, FileNotFoundError):
            # The version is gone; another version of the same path may exist.
            return
        versions[:] = [v for v in versions if v[offset : offset + size] == found and len(v) == file.size]
        assert versions, "bytes of no single version"

    @rule(which=st.integers(0, 2))
    def close_reader(self, which: int) -> None:
        if which < len(self.readers):
            self.readers.pop(which)[0].close()

    @rule(who=CLIENTS, path=FOLDERS)
    def download(self, who: int, path: str) -> None:
        if self.now.is_directory(path) is not True or path in self.now.files or self._ambiguous(path):
            return
        target = self.local / "tree"
        shutil.rmtree(target, ignore_errors=True)
        self.systems[who].get(self.at(path), str(target), recursive=True)
        found = {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()}
        assert found == {below(p, path): data for p, data in self.now.files_below(path).items()}
