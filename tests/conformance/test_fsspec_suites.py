"""fsspec's own suites over every target."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

from opendalfs import OpendalFileSystem
from tests.conformance.targets import Place


class Fixtures(AbstractFixtures):
    """What the suites ask of a filesystem under test."""

    lists = False

    @pytest.fixture
    def fs(self, place: Place) -> OpendalFileSystem:
        if self.lists:
            place.require("list")
            # The trees of these suites hold empty files.
            place.require("write_can_empty")
        return place.fs

    @pytest.fixture
    def fs_path(self, place: Place) -> str:
        return place.root

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return True


class TestOpen(Fixtures, AbstractOpenTests):
    """open("xb")."""


class TestPipe(Fixtures, AbstractPipeTests):
    """pipe(mode="create")."""


class TestCopy(Fixtures, AbstractCopyTests):
    """cp, of files, directories, globs and lists."""

    lists = True


class TestGet(Fixtures, AbstractGetTests):
    """get, of files, directories, globs and lists."""

    lists = True


class TestPut(Fixtures, AbstractPutTests):
    """put, of files, directories, globs and lists."""

    lists = True
