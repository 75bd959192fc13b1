"""The reference on the site names each public name, and each has an example."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from opendalfs.services import SERVICES
from tests.docs import generate_reference
from tests.test_public_api import ADAPTERS

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
NAMED = set(re.findall(r"^::: (\S+)$", "\n".join(p.read_text() for p in FOLDER.glob("*.md")), re.MULTILINE))
CLASSES = {f"opendalfs.{service.class_name}" for service in SERVICES.values()}
PACKAGES = ["opendalfs", *ADAPTERS]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_each_public_name_of_a_package_and_no_other(package: str) -> None:
    public = {f"{package}.{name}" for name in importlib.import_module(package).__all__}
    named = {name for name in NAMED if name.rpartition(".")[0] == package} - {"opendalfs.testing"}
    assert named == public - CLASSES


@pytest.mark.parametrize("package", [*PACKAGES, "opendalfs.testing"])
def test_each_public_name_has_an_example(package: str) -> None:
    module = importlib.import_module(package)
    found = {name: getattr(module, name) for name in module.__all__ if f"{package}.{name}" not in CLASSES}
    documented = {name for name, value in found.items() if callable(value) or inspect.ismodule(value)}
    assert {name for name in documented if ">>>" not in (inspect.getdoc(found[name]) or "")} == set()


def test_the_page_of_the_services_is_that_of_the_code() -> None:
    hint = "run: python -m tests.docs.generate_reference"
    assert generate_reference.PAGE.read_text() == generate_reference.page(), hint
