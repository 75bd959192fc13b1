"""Secrets appear in no repr, error, file name or JSON."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import fsspec
import fsspec.core
import polars as pl
import pyarrow.csv
import pyarrow.fs as pafs
import pytest

import opendalfs
import opendalfs_duckdb
import opendalfs_polars
from opendalfs import OpendalFileSystem, filesystem
from opendalfs.error_translation import translate_error
from opendalfs.errors import redact
from opendalfs.options import is_secret, secret_values
from opendalfs.services import SERVICES
from opendalfs.testing import Request, Response, S3Server, ScriptedServer

# Options that reprs and messages may show; user and password in a URL are cut out of it.
SHOWN_TEXT = """
account_name addressing_style allow_anonymous assume_role_duration_seconds atomic_write_dir authority_host
batch_max_operations bucket bucket_id checksum_algorithm chunk_size cluster_endpoints collection
connection_pool_max_size container credential_path database datadir datafile db default_acl
default_storage_class default_ttl delete_max_size disable_config_load disable_copy disable_create_dir
disable_ec2_metadata disable_list_batch disable_list_objects_v2 disable_stat_with_override
disable_vm_metadata disable_write_with_if_match download_mode drive_type email enable_append
enable_conditional_read enable_hns enable_request_payer enable_resolve_cache enable_user_metadata
enable_versioning enable_virtual_host_style enable_write_with_append encryption_algorithm endpoint
filesystem index key_field max_capacity name name_node oidc_provider_arn oidc_token_file operator
predefined_acl presign_addressing_style presign_endpoint profile region repo_id repo_name repo_type
revision role_arn role_session_name root scope segment server_side_encryption
server_side_encryption_aws_kms_key_id server_side_encryption_customer_algorithm
server_side_encryption_key_id service_account share_name skip_signature sts_endpoint table team_id
team_slug temp_url_hash_algorithm time_to_idle time_to_live tree user user_metadata_prefix
user_metadata_uri user_name username value_field version
"""
SHOWN = frozenset(SHOWN_TEXT.split())
HIDDEN_TEXT = """
access_key_id access_key_secret access_token account_key application_key application_key_id
assume_role_session_tags client_id client_secret connection_string credential delegation encryption_key
encryption_key_sha256 external_id options password refresh_token runtime_token sas_token
secret_access_key secret_id secret_key security_token server_side_encryption_customer_key
server_side_encryption_customer_key_md5 session_token temp_url_key tenant_id token
"""
HIDDEN = frozenset(HIDDEN_TEXT.split())


def test_every_option_of_the_wheel_is_known_to_be_shown_or_hidden() -> None:
    """A newer wheel's option shows up here, to be put into one of the two."""
    every = {name for service in SERVICES.values() for name in service.options}
    assert every - SHOWN - HIDDEN == set()
    assert (SHOWN | HIDDEN) - every == set()
    assert {name for name in every if is_secret(name)} == HIDDEN


WITH_HIDDEN = [name for name, service in SERVICES.items() if not HIDDEN.isdisjoint(service.options)]


@pytest.mark.parametrize("scheme", WITH_HIDDEN)
def test_a_hidden_option_is_in_no_repr(scheme: str) -> None:
    names = set(SERVICES[scheme].options)
    hidden = {name: f"hush-{name}" for name in HIDDEN & names}
    shown = dict.fromkeys({"account_name", "root"} & names, "shown")
    fs = opendalfs.filesystem(scheme, **hidden, **shown)
    assert "hush-" not in f"{fs!r} {fs} {fs.fsid} {fs._repr_html_()}"
    assert all(f"{name}=***" in fs._repr_html_() for name in hidden)
    assert all(f"{name}=***" in repr(fs) for name in hidden)
    assert all(f"{name}='shown'" in repr(fs) for name in shown)


def test_an_external_id_is_cut_out_of_texts() -> None:
    fs = opendalfs.S3FileSystem(role="arn:aws:iam::1:role/r", external_id="hush-hush")
    assert "hush-hush" not in f"{fs!r} {fs.fsid} {fs._repr_html_()}"
    assert "hush-hush" in secret_values(fs.native)
    assert "hush-hush" not in redact("ExternalId=hush-hush", secret_values(fs.native))


# JSON


KEY = "aHVzaC1odXNo"


@pytest.mark.parametrize(
    ("scheme", "secret", "kept"),
    [
        (
            "s3",
            {
                "key": "hush-id",
                "secret": "hush-secret",
                "token": "hush-token",
                "client_kwargs": {"aws_session_token": "hush-token", "region_name": "eu-1"},
                "s3_additional_kwargs": {"SSECustomerKey": "hush-key", "ACL": "private"},
                "external_id": "hush-external",
            },
            {
                "endpoint_url": "http://host:9",
                "client_kwargs": {"region_name": "eu-1"},
                "s3_additional_kwargs": {"ACL": "private"},
            },
        ),
        ("s3", {"username": "hush-id", "password": "hush-secret"}, {"retries": 2, "requester_pays": True}),
        ("s3", {"access_key_id": "hush-id", "secret_access_key": "hush-secret"}, {"profile": "default"}),
        ("gcs", {"token": {"type": "service_account", "private_key": "hush-key"}}, {"retries": 2}),
        ("gcs", {"token": "hush-token"}, {"endpoint_url": "http://host"}),
        ("gcs", {"credential": "hush-key"}, {}),
        ("gcs", {}, {"token": "anon"}),
        ("gcs", {}, {"token": "cloud"}),
        ("gcs", {}, {"token": "/keys/mine.json"}),
        ("azblob", {"connection_string": f"AccountName=hush-name;AccountKey={KEY}"}, {"retries": 2}),
        ("azblob", {"credential": "sv=1&sig=hush-token"}, {"account_name": "acct"}),
        ("azblob", {"sas_token": "sv=1&sig=hush-token"}, {"account_name": "acct"}),
        (
            "azdls",
            {"client_id": "hush-c", "client_secret": "hush-s", "tenant_id": "hush-t"},
            {"account_name": "acct"},
        ),
        ("oss", {"key": "hush-id", "secret": "hush-secret", "token": "hush-token"}, {}),
        ("webdav", {"password": "hush-hush", "token": "hush-token"}, {"endpoint": "http://host"}),
        ("mysql", {"connection_string": "mysql://me:hush@host/db"}, {"table": "t"}),
        ("swift", {"temp_url_key": "hush-key"}, {}),
    ],
)
def test_json_without_passwords_holds_no_secret(
    scheme: str, secret: dict[str, Any], kept: dict[str, Any]
) -> None:
    given = {**kept, **secret}
    fs = opendalfs.filesystem(scheme, skip_instance_cache=True, **given)
    text = fs.to_json(include_password=False)
    assert "hush" not in text
    assert KEY not in text
    found = json.loads(text)
    assert {name: value for name, value in found.items() if name not in ("cls", "protocol", "args")} == {
        **kept
    }
    whole = json.loads(fs.to_json())
    assert {name: whole[name] for name in given} == given


def test_json_without_passwords_holds_no_password_of_a_url() -> None:
    fs = opendalfs.WebdavFileSystem(endpoint="http://me:hush-hush@host:9")
    assert json.loads(fs.to_json(include_password=False))["endpoint"] == "http://host:9"


@pytest.mark.parametrize("scheme", ["ftp", "webdav"])
def test_a_password_of_an_endpoint_without_a_scheme_is_in_no_text(scheme: str) -> None:
    fs = opendalfs.filesystem(scheme, endpoint="me:hush@127.0.0.1:1", retries=0)
    assert fs.native["endpoint"] == "me:hush@127.0.0.1:1"
    with pytest.raises(OSError, match="127") as raised:
        fs.cat_file("a")
    assert json.loads(fs.to_json(include_password=False))["endpoint"] == "127.0.0.1:1"
    assert "***@127.0.0.1:1" in repr(fs)
    assert "hush" not in "".join([repr(fs), fs._repr_html_(), fs.fsid, everything(raised.value)])


def test_json_without_passwords_makes_a_filesystem_again() -> None:
    fs = OpendalFileSystem("s3", bucket="lake", key="hush-id", secret="hush-secret", region="eu-1")
    text = fs.to_json(include_password=False)
    assert "hush" not in text
    twin = OpendalFileSystem.from_json(text)
    assert isinstance(twin, OpendalFileSystem)
    assert (twin.native["bucket"], twin.native["region"]) == ("lake", "eu-1")


# File names of errors


SIGNED = "b/k.csv?X-Amz-Credential=hush-id&X-Amz-Signature=hush-hush"


def everything(exc: BaseException | None) -> str:
    """Collect all that an error shows, its causes included."""
    parts = []
    while exc is not None:
        parts += [str(exc), repr(exc), str(getattr(exc, "filename", "")), repr(exc.args)]
        exc = exc.__cause__ or exc.__context__
    return "\n".join(parts)


def test_the_file_name_of_an_error_is_redacted_as_its_text_is() -> None:
    import opendal.exceptions

    raised = opendal.exceptions.NotFound("NotFound (permanent) at stat")
    error = translate_error(raised, "stat", f"{SIGNED}&x=my-secret-1", where="x", secrets=["my-secret-1"])
    assert error is not None
    assert error.filename == "b/k.csv?X-Amz-Credential=***&X-Amz-Signature=***&x=***"
    assert "hush" not in everything(error)
    assert "hush" not in everything(pickle.loads(pickle.dumps(error)))


def echo(request: Request) -> Response:
    return Response(403, body=f"<Error><Message>{request.text}</Message></Error>".encode())


@pytest.mark.parametrize("blocking", [True, False])
def test_the_error_of_opendal_that_was_replaced_holds_no_secret(blocking: bool) -> None:
    """Tools that report errors to a server send the whole chain, with what a traceback leaves out."""
    with ScriptedServer(echo) as server:
        fs = opendalfs.WebdavFileSystem(endpoint=server.endpoint, token="hush-hush", retries=0)
        connection = fs.locate("k")[0]
        with pytest.raises(PermissionError) as info:
            connection.read_blocking("k", 0, 1) if blocking else fs.cat_file("k")
    assert "hush-hush" in server.requests[0].text
    error: BaseException | None = info.value
    seen = []
    while error is not None:
        seen += [str(error), repr(error), repr(error.args)]
        error = error.__context__
    assert len(seen) > 3
    assert "hush" not in "".join(seen)


@pytest.mark.parametrize("name", ["design=5/a.csv", "a/b.csv", "year=2026/signal=x/c.csv"])
def test_ordinary_names_are_shown_unchanged(name: str) -> None:
    with pytest.raises(FileNotFoundError) as info:
        opendalfs.MemoryFileSystem().cat_file(name)
    assert info.value.filename == name


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "cat_file": lambda fs, path: fs.cat_file(path),
    "open": lambda fs, path: fs.open(path).read(),
    "info": lambda fs, path: fs.info(path),
    "ls": lambda fs, path: fs.ls(path),
    "size": lambda fs, path: fs.size(path),
    "checksum": lambda fs, path: fs.checksum(path),
    "rm_file": lambda fs, path: fs.rmdir(path),
    "get": lambda fs, path: fs.get_file(path, "/dev/null"),
    "mv": lambda fs, path: fs.mv(path, "elsewhere"),
    "cp": lambda fs, path: fs.cp_file(path, "elsewhere"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("scheme", ["memory", "fs", "webdav"])
def test_no_call_shows_a_signature_in_a_path(
    scheme: str, call: str, capture: ScriptedServer, tmp_path: Path
) -> None:
    options = {"memory": {}, "fs": {}, "webdav": {"endpoint": capture.endpoint, "retries": 0}}[scheme]
    fs = opendalfs.filesystem(scheme, **options)
    path = f"{tmp_path}/{SIGNED}" if scheme == "fs" else SIGNED
    with pytest.raises(OSError, match=r".") as info:
        CALLS[call](fs, path)
    assert "hush" not in everything(info.value)


def arrow_read(url: str) -> Any:
    return pyarrow.csv.read_csv(opendalfs.arrow().open_input_stream(url))


def duckdb_read(url: str) -> Any:
    with duckdb.connect() as con:
        opendalfs_duckdb.register(con)
        return con.execute(f"FROM read_csv('{url}')").fetchall()


ENGINES: dict[str, Callable[[str], Any]] = {
    "arrow": arrow_read,
    "arrow-info": lambda url: opendalfs.arrow().get_file_info(pafs.FileSelector(url)),
    "arrow-move": lambda url: opendalfs.arrow().move(url, url + "2"),
    "polars": lambda url: opendalfs_polars.scan_csv(url).collect(),
    "polars-gateway": lambda url: pl.read_csv(
        (t := opendalfs_polars.target(url, backend="gateway", glob=False)).source,
        storage_options=t.storage_options,
    ),
}


@pytest.mark.parametrize("engine", [name for name in ENGINES if name.startswith("arrow")])
def test_arrow_shows_no_signature_in_a_path(engine: str, capture: ScriptedServer) -> None:
    """DuckDB and Polars repeat the path of the query in messages of their own."""
    with pytest.raises(OSError, match="No such") as info:
        ENGINES[engine](f"opendal+webdav://{capture.host}/k.csv;X-Amz-Signature=hush-hush")
    assert "hush" not in everything(info.value)


# Pre-signed URLs


@pytest.fixture
def capture() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.mark.parametrize("call", [*CALLS, "exists", "isfile", "fsspec.open", "cat_ranges"])
def test_a_query_of_an_http_url_is_refused_and_not_shown(call: str, capture: ScriptedServer) -> None:
    calls = CALLS | {
        "exists": lambda fs, path: fs.exists(path),
        "isfile": lambda fs, path: fs.isfile(path),
        "fsspec.open": lambda fs, path: fsspec.open(path).open().read(),
        "cat_ranges": lambda fs, path: fs.cat_ranges([path], [0], [5], on_error="raise"),
    }
    fs = opendalfs.HttpFileSystem(endpoint=capture.endpoint)
    with pytest.raises(NotImplementedError, match=r"pre-signed|cannot") as info:
        calls[call](fs, f"opendal+http://{capture.host}/{SIGNED}")
    assert "hush" not in everything(info.value)
    assert capture.requests == []


@pytest.mark.parametrize("engine", {**ENGINES, "duckdb": duckdb_read}.items(), ids=lambda item: str(item[0]))
def test_engines_refuse_a_query_of_an_http_url_and_do_not_show_it(
    engine: tuple[str, Callable[[str], Any]], capture: ScriptedServer
) -> None:
    name, call = engine
    with pytest.raises(Exception, match=r"pre-signed|cannot") as info:
        call(f"opendal+http://{capture.host}/{SIGNED}")
    assert "hush" not in everything(info.value), name
    assert capture.requests == []


def test_a_name_with_a_question_mark_is_served_where_it_is_a_name(tmp_path: Path) -> None:
    fs = OpendalFileSystem("fs", root=str(tmp_path))
    fs.pipe_file("a?b", b"x")
    assert fs.cat_file("a?b") == b"x"


# WebDAV over TLS


def test_a_webdavs_url_speaks_tls(capture: ScriptedServer) -> None:
    with pytest.raises(OSError, match=r"."):
        fsspec.open(f"opendal+webdavs://me:hush-hush@{capture.host}/k", retries=0, timeout=5).open().read()
    assert capture.connections > 0
    assert capture.requests == []
    with pytest.raises(FileNotFoundError):
        fsspec.open(f"opendal+webdav://me:hush-hush@{capture.host}/k", retries=0, timeout=5).open().read()
    assert capture.requests


@pytest.fixture
def memory() -> OpendalFileSystem:
    """Return a memory service that no other test uses."""
    return OpendalFileSystem("memory", root=f"/{uuid4().hex}")


# Errors


@pytest.mark.parametrize("password", ["hunter2", "hun@ter2"])
@pytest.mark.parametrize("call", ["cat_file", "info", "open", "rm", "mkdir", "reader", "glob"])
def test_no_error_shows_the_password_of_a_url(call: str, password: str) -> None:
    fs = filesystem("webdav", endpoint="http://127.0.0.1:1", retries=0)
    with pytest.raises((ValueError, OSError)) as info:
        getattr(fs, call)(f"opendal+webdav://me:{password}@other:1/a")
    assert "ter2" not in f"{info.value} {info.value!r}"


@pytest.mark.parametrize("call", ["cat_file", "info", "open", "rm", "mv"])
def test_no_error_about_what_a_url_names_shows_its_password(call: str) -> None:
    fs = OpendalFileSystem("memory", root=f"/{uuid4().hex}")
    with pytest.raises((ValueError, OSError)) as info:
        getattr(fs, call)(*["opendal+webdav://me:hunter2@other:1/a"] * (2 if call == "mv" else 1))
    assert "hunter2" not in f"{info.value} {info.value!r}"


@pytest.fixture
def s3(s3_server: S3Server) -> opendalfs.S3FileSystem:
    """Return an S3 filesystem with its own listings cache."""
    return opendalfs.filesystem("s3", skip_instance_cache=True, **s3_server.options)


def test_secrets_show_only_where_they_must(s3_server: S3Server) -> None:
    """Pickles and to_json contain them, because they must connect again; repr and errors do not."""
    fs = opendalfs.filesystem("s3", **{**s3_server.options, "secret": "hush-hush", "token": "sesame"})
    assert "hush-hush" not in repr(fs)
    assert "sesame" not in repr(fs)
    with pytest.raises(PermissionError) as caught:
        fs.cat_file(f"{s3_server.bucket}/key")
    told = str(caught.value) + str(caught.value.__cause__) + repr(caught.value)
    assert "hush-hush" not in told
    assert "sesame" not in told
    again = pickle.loads(pickle.dumps(fs))
    assert again == fs
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()).native == fs.native
