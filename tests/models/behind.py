"""Rules of the state machine: a client of another library changes objects of S3 behind the back of ours."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.models.base import FILES, BaseMachine

__all__ = ["ChangesBehind"]


class ChangesBehind(BaseMachine):
    """Writes and deletions by botocore, of which no cache of opendalfs hears."""

    raw: ClassVar[Any]

    @rule(path=FILES)
    def write_behind(self, path: str) -> None:
        if not self.model.can_hold(path):
            return
        data = self.content()
        bucket, _, key = self.at(path).partition("/")
        self.raw.put_object(Bucket=bucket, Key=key, Body=data)
        self.model.put({path: data})

    @rule(path=FILES)
    def delete_behind(self, path: str) -> None:
        if path not in self.now.files:
            return
        bucket, _, key = self.at(path).partition("/")
        self.raw.delete_object(Bucket=bucket, Key=key)
        self.model.remove(path)

    @rule(source=FILES, to=FILES)
    def move_behind(self, source: str, to: str) -> None:
        if source not in self.now.files or source == to or not self.model.can_hold(to):
            return
        bucket, _, key = self.at(source).partition("/")
        target = self.at(to).partition("/")[2]
        self.raw.copy_object(Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": key})
        self.raw.delete_object(Bucket=bucket, Key=key)
        self.model.put({to: self.now.files[source]})
        self.model.remove(source)

    @rule(paths=st.sets(FILES, min_size=2, max_size=4))
    def delete_many_behind(self, paths: set[str]) -> None:
        there = sorted(paths & self.now.files.keys())
        if not there:
            return
        bucket = self.root.partition("/")[0]
        keys = [{"Key": self.at(path).partition("/")[2]} for path in there]
        self.raw.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        for path in there:
            self.model.remove(path)
