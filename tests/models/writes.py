"""Rules of the state machine: writes, and file objects that are committed or discarded."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from opendalfs import OpendalFileSystem
from tests.models.base import CLIENTS, FILES, BaseMachine
from tests.models.model import inside

__all__ = ["Writes"]


class Writes(BaseMachine):
    """Writes of files."""

    # Writes

    @rule(who=CLIENTS, path=FILES, how=st.sampled_from(["pipe", "create", "put", "touch", "open", "xb"]))
    def write(self, who: int, path: str, how: str) -> None:
        if not self.model.can_hold(path):
            if self.storage.kind == "tree":
                with pytest.raises((IsADirectoryError, NotADirectoryError, FileExistsError)):
                    self.systems[who].pipe_file(self.at(path), b"x")
            return
        data = b"" if how == "touch" else self.content()
        try:
            self._write(self.systems[who], self.at(path), how, data)
        except FileExistsError:
            assert how in ("create", "xb")
            assert path in self.now.files
            return
        assert how not in ("create", "xb") or path not in self.now.files
        self.put_into_model(who, {path: data})

    def _write(self, fs: OpendalFileSystem, path: str, how: str, data: bytes) -> None:
        if how == "touch":
            fs.touch(path)
        elif how == "put":
            (self.local / "up").write_bytes(data)
            fs.put_file(str(self.local / "up"), path)
        elif how in ("open", "xb"):
            with fs.open(path, "xb" if how == "xb" else "wb") as file:
                for start in range(0, len(data), 9):
                    file.write(data[start : start + 9])
        else:
            fs.pipe_file(path, data, mode="create" if how == "create" else "overwrite")

    @rule(who=CLIENTS, paths=st.sets(FILES, min_size=2, max_size=4))
    def write_many(self, who: int, paths: set[str]) -> None:
        contents: dict[str, bytes] = {}
        for path in sorted(paths):
            if self.model.can_hold(path) and not any(inside(path, p) or inside(p, path) for p in contents):
                contents[path] = self.content()
        self.systems[who].pipe({self.at(path): data for path, data in contents.items()})
        self.put_into_model(who, contents)

    @rule(who=CLIENTS, path=FILES)
    def open_writer(self, who: int, path: str) -> None:
        if self.model.can_hold(path) and len(self.writers) < 3:
            data = self.content()
            file = self.systems[who].open(self.at(path), "wb")
            file.write(data)
            self.writers.append((who, path, file, data))

    @rule(commit=st.booleans())
    def end_writer(self, commit: bool) -> None:
        if not self.writers:
            return
        who, path, file, data = self.writers.pop(0)
        if not commit or not self.model.can_hold(path):
            file.discard()
            file.close()
            return
        file.close()
        self.put_into_model(who, {path: data})

    @rule(who=CLIENTS, path=FILES)
    def write_that_fails(self, who: int, path: str) -> None:
        if not self.model.can_hold(path):
            return
        with suppress(ZeroDivisionError), self.systems[who].open(self.at(path), "wb") as file:
            file.write(b"lost")
            raise ZeroDivisionError
