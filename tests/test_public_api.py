"""The public names: `__all__`, `dir()` and what can be imported agree."""

from __future__ import annotations

import importlib
import inspect
import types

import pytest

import opendalfs
from opendalfs import option_types
from opendalfs.services import SERVICES

ENGINES = {"arrow", "duckdb", "polars", "serve"}
ADAPTERS = [
    "opendalfs_arrow",
    "opendalfs_cli",
    "opendalfs_duckdb",
    "opendalfs_gateway",
    "opendalfs_polars",
    "opendalfs_upath",
]


def test_all_names_what_the_package_exports() -> None:
    exported = {
        name
        for name, value in vars(opendalfs).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert sorted(exported) == sorted(opendalfs.__all__)
    assert len(set(opendalfs.__all__)) == len(opendalfs.__all__)


def test_dir_shows_all_and_the_engines() -> None:
    shown = {name for name in dir(opendalfs) if not name.startswith("__")}
    assert shown == {*opendalfs.__all__, *ENGINES}
    assert "__version__" in dir(opendalfs)
    for name in dir(opendalfs):
        assert getattr(opendalfs, name) is not None


def test_a_name_that_is_missing_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'S4FileSystem'"):
        getattr(opendalfs, "S4FileSystem")  # noqa: B009
    with pytest.raises(AttributeError, match="no attribute 'S4Options'"):
        getattr(option_types, "S4Options")  # noqa: B009


def test_every_service_has_an_exported_class() -> None:
    expected = {service.class_name for service in SERVICES.values()}
    assert expected <= set(opendalfs.__all__)


@pytest.mark.parametrize("name", ["opendalfs", *ADAPTERS])
def test_every_public_name_has_a_docstring_with_raises_and_an_example(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        text = inspect.getdoc(value) or ""
        assert text, public
        if inspect.isfunction(value):
            assert "Raises\n------" in text, public
            assert ">>>" in text, public
