"""Limits of modules, functions and docstrings, which CONTRIBUTING.md states."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ["opendalfs", "integrations", "benchmarks", "examples", "tests"]
PRODUCT = FOLDERS[:2]
MODULE_LINES = 400
FUNCTION_LINES = 40
VERBS = re.compile(r"(Ask|Give|Hand|Know|Let|Make sure|Note|Say|Take|Tell)s?\b")
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each module."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function without its docstring."""
    total = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return total
    docstring = function.body[0]
    return total - ((docstring.end_lineno or 0) - docstring.lineno + 1)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_is_too_long(folder: str) -> None:
    lengths = {path: text.count("\n") for path, text in modules(folder)}
    assert lengths
    too_long = {path: length for path, length in lengths.items() if length > MODULE_LINES}
    assert not too_long, f"more than {MODULE_LINES} lines: split these modules by subject"


@pytest.mark.parametrize("folder", PRODUCT)
def test_no_function_is_too_long(folder: str) -> None:
    too_long = {
        f"{path}:{node.lineno} {node.name}": code_lines(node)
        for path, text in modules(folder)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > FUNCTION_LINES
    }
    assert not too_long, f"more than {FUNCTION_LINES} lines without the docstring: split these functions"


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_start_with_a_standard_verb(folder: str) -> None:
    found = [
        f"{path}: {docstring.splitlines()[0]}"
        for path, text in modules(folder)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Documented) and (docstring := ast.get_docstring(node)) and VERBS.match(docstring)
    ]
    assert not found, "start with Return, Yield, Read, Write, List, Raise, Whether or another plain verb"


def test_only_tests_benchmarks_and_examples_import_opendalfs_testing() -> None:
    importing = re.compile(
        r"^\s*(from|import) opendalfs\.testing\b|^\s*from opendalfs import .*\btesting\b", re.MULTILINE
    )
    found = [
        path
        for path, text in modules(*PRODUCT)
        if importing.search(text) and not path.startswith("opendalfs/testing/")
    ]
    assert not found, "the product must not need the packages of its tests"
