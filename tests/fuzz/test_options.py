"""Options with random names and values: a filesystem, or an error that says which option is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendalfs import OptionError
from opendalfs.fs.registry import filesystem_class
from opendalfs.options import FSSPEC, Tuning, check, is_secret
from opendalfs.peer_options import class_options
from opendalfs.services import SERVICES
from tests.effort import effort
from tests.fuzz import corpus

SERVICE_NAMES = sorted(SERVICES)
NESTED = [
    "client_kwargs",
    "config_kwargs",
    "s3_additional_kwargs",
    "token",
    "credential",
    "connection_string",
    "project",
]
INNER = [
    "endpoint_url",
    "region_name",
    "signature_version",
    "s3",
    "retries",
    "use_ssl",
    "ACL",
    "type",
    "read_timeout",
]
TUNING = sorted(Tuning.__dataclass_fields__)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**63, 1 << 40])
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["\udc80", "\0", "true", "nan", "1e999", "9" * 5000, "http://", "https://host:x", "a=b,c", "=", ","]
    )
    | st.binary(max_size=6)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(INNER) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def options(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw a service, and options of it, of others, and of none."""
    scheme = draw(st.sampled_from(SERVICE_NAMES))
    service = SERVICES[scheme]
    known = sorted({*class_options(service), *service.options, *service.peers})
    names = st.sampled_from(known) | st.sampled_from(TUNING) | st.sampled_from(NESTED) | st.text(max_size=8)
    return scheme, draw(st.dictionaries(names, values, max_size=4))


def make(scheme: str, given: dict[str, Any]) -> None:
    """Make a filesystem; it shows its options and none of their secrets, or an OptionError is raised."""
    service = SERVICES[scheme]
    for container in (True, False):
        try:
            native, tuning = check(service, dict(given), container=container)
        except OptionError as exc:
            assert str(exc)
            continue
        assert all(isinstance(v, str) for v in native.values())
        assert set(native) <= {*service.options}
        assert tuning.concurrency > 0
        assert tuning.read_chunk > 0
    try:
        fs = filesystem_class(scheme)(**given, skip_instance_cache=True)
    except OptionError:
        return
    shown = repr(fs) + fs.fsid + json.dumps(fs.to_dict(include_password=False), default=str)
    for name, value in fs.native.items():
        if is_secret(name) and len(value) > 8 and value.isalnum():
            assert value not in shown


@effort(100)
@given(options())
def test_any_options_make_a_filesystem_or_an_option_error(found: tuple[str, dict[str, Any]]) -> None:
    scheme, given = found
    # Arguments of fsspec, and of Python's own calls, are not checked here.
    for name in (*FSSPEC, "cls", "self", "scheme"):
        given.pop(name, None)
    make(scheme, given)


@corpus.each("options")
def test_options_that_once_failed(data: bytes) -> None:
    found = json.loads(data)
    make(found["service"], found["options"])


@pytest.mark.parametrize(
    "number", [10**400, -(10**400), float("inf"), float("nan"), "9" * 5000], ids=lambda n: f"{n!r:.9}"
)
def test_a_number_without_bound_is_an_option_error(number: Any) -> None:
    with pytest.raises(OptionError):
        filesystem_class("s3")(retries=number)
