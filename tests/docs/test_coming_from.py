"""The tables of docs/coming_from.md are what the options of other libraries do in opendalfs."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
import s3fs

from opendalfs import OptionError, filesystem, peer_options
from opendalfs.options import FSSPEC, TUNING_NAMES
from opendalfs.peer_options import class_options
from opendalfs.services import SERVICES

PAGE = (Path(__file__).parents[2] / "docs" / "coming_from.md").read_text()


def known(scheme: str) -> set[str]:
    """Return the names of options that a service takes."""
    service = SERVICES[scheme]
    return {*service.options, *class_options(service), *service.peers, *TUNING_NAMES, *FSSPEC}


def table(mark: str) -> dict[str, str]:
    """Return the options in the table below a mark, and what the page says of each."""
    text = PAGE.partition(f"<!-- options: {mark} -->\n\n")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE))


def rows() -> Iterator[tuple[str, str, str]]:
    for mark in re.findall(r"<!-- options: (.*) -->", PAGE):
        for name, here in table(mark).items():
            yield mark.split()[0], name, here


@pytest.mark.parametrize(("scheme", "name", "here"), list(rows()))
def test_an_option_of_another_library_does_what_the_page_says(scheme: str, name: str, here: str) -> None:
    names = known(scheme)
    if here == "the same":
        assert name in names
        return
    assert name not in names
    with pytest.raises(OptionError, match=f"has no option '{name}'"):
        filesystem(scheme, **{name: "text"})
    assert here == "remove it" or here.strip("`") in names


def test_the_table_of_s3fs_has_each_of_its_options() -> None:
    signature = inspect.signature(s3fs.S3FileSystem.__init__)
    assert set(signature.parameters) - {"self", "kwargs"} <= set(table("s3"))


def test_the_table_of_obstore_has_each_of_its_options() -> None:
    stub = ast.parse((Path(obstore.__file__).parent / "_store" / "_aws.pyi").read_text())
    (config,) = (
        node for node in ast.walk(stub) if isinstance(node, ast.ClassDef) and node.name == "S3Config"
    )
    names = {node.target.id for node in config.body if isinstance(node, ast.AnnAssign)}
    # The bucket is an argument of its own.
    assert names - {"bucket"} <= set(table("s3 obstore"))


@pytest.mark.parametrize("scheme", ["s3", "gcs", "azblob"])
def test_each_translated_name_is_on_the_page(scheme: str) -> None:
    names = {*SERVICES[scheme].peers, *peer_options._NESTED[scheme]}
    elsewhere = {"region_name", "role"}  # of boto3 and of ossfs
    assert {name for name in names - elsewhere if f"`{name}`" not in PAGE and f"{name}=" not in PAGE} == set()
