"""The typed options of the service classes: current, complete, and shown by `help()`."""

from __future__ import annotations

import inspect
import pydoc
import typing
from pathlib import Path

import pytest

import opendalfs
from opendalfs import option_types
from opendalfs.fs.registry import filesystem_class
from opendalfs.options import FSSPEC, TUNING_NAMES, check
from opendalfs.services import SERVICES, Service
from tests.options.generate_option_types import name_of, sources


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_the_generated_option_types_are_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == sources()[path], (
        "run python -m tests.options.generate_option_types"
    )


def test_common_options_are_those_of_tuning_and_fsspec() -> None:
    assert set(option_types.CommonOptions.__annotations__) == TUNING_NAMES | FSSPEC


def refusal(service: Service, name: str, value: object) -> str:
    try:
        check(service, {name: value}, container=False)
    except opendalfs.OptionError as exc:
        return str(exc)
    return ""


@pytest.mark.parametrize("scheme", SERVICES)
def test_a_class_takes_exactly_the_options_of_its_type(scheme: str) -> None:
    service, cls = SERVICES[scheme], filesystem_class(scheme)
    typed = typing.get_type_hints(getattr(option_types, name_of(service)))
    hints = inspect.get_annotations(cls.__init__, eval_str=True)
    assert typing.get_args(hints["options"])[0].__name__ == name_of(service)
    samples = {"anon": True, "use_ssl": True, "token": "anon", "config_kwargs": {}, "listings_expiry_time": 1}
    listed = inspect.getdoc(cls) or ""
    for name, kind in typed.items():
        assert name in listed, name
        if name in FSSPEC or name == "credential_provider":
            continue
        kinds = typing.get_args(kind)
        sample = samples.get(name, {} if "Mapping" in str(kind) else kinds[0](1))
        text = refusal(service, name, sample)
        assert "has no option" not in text, name
        assert "takes no" not in text, name
    accepted = {*service.options, *service.peers, *TUNING_NAMES, *FSSPEC}
    left_out = {service.container, "root" if scheme == "fs" else None}
    assert accepted - left_out <= set(typed)
    assert not left_out & set(typed)


def test_help_lists_the_options() -> None:
    text = pydoc.render_doc(opendalfs.S3FileSystem, renderer=pydoc.plaintext)
    for part in (
        "server_side_encryption : str",
        "endpoint, endpoint_url : str",
        "verify_writes",
        "S3Options",
    ):
        assert part in text
