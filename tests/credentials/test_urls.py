"""Servers and accounts in URLs: a URL never sends the credentials among the options to another server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import duckdb
import fsspec
import fsspec.config
import fsspec.core
import pyarrow.parquet as pq
import pytest

import opendalfs
import opendalfs_duckdb
import opendalfs_polars
from opendalfs import OptionError
from opendalfs.fs import registry
from opendalfs.testing import ScriptedServer
from opendalfs_arrow.iceberg import OpendalFileIO

AZURE = ("azblob", "azdls", "azfile")
KEY = "aHVzaC1odXNoLWh1c2gtaHVzaA=="
SECRETS: dict[str, dict[str, str]] = {
    "key": {"account_name": "acct", "account_key": KEY},
    "token": {"sas_token": "sv=1&sig=hush-hush"},
    "connection": {"connection_string": f"AccountName=acct;AccountKey={KEY}"},
}


@pytest.fixture
def capture() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def iceberg(url: str, options: dict[str, Any]) -> bytes:
    properties = {f"opendal.{name}": value for name, value in options.items()}
    return OpendalFileIO(properties).new_input(url).open().read()


def by_duckdb(url: str, options: dict[str, Any]) -> Any:
    with duckdb.connect() as con:
        opendalfs_duckdb.register(con, **options)
        return con.execute(f"FROM read_text('{url}')").fetchall()


ROADS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "fsspec.open": lambda url, options: fsspec.open(url, **options).open().read(),
    "fsspec.filesystem": lambda url, options: registry.filesystem_class(url.partition("://")[0])(
        **options
    ).cat_file(url),
    "url_to_fs": lambda url, options: (lambda fs, path: fs.cat_file(path))(
        *registry.url_to_fs(url, **options)
    ),
    "polars": lambda url, options: opendalfs_polars.scan_csv(url, storage_options=options).collect(),
    "arrow": lambda url, options: pq.read_table(url, filesystem=opendalfs.arrow(**options)),
    "iceberg": iceberg,
    "duckdb": by_duckdb,
}
REFUSED = (OSError, ValueError, duckdb.Error)


# Accounts of Azure


@pytest.mark.parametrize("secrets", SECRETS)
@pytest.mark.parametrize("scheme", AZURE)
def test_a_host_that_is_not_azure_s_is_sent_nothing(
    scheme: str, secrets: str, capture: ScriptedServer
) -> None:
    url = f"opendal+{scheme}://data@{capture.host}/x.csv"
    for road, call in ROADS.items():
        with pytest.raises(REFUSED, match=r"not a host of Azure|another server|but the options are for"):
            call(url, {"retries": 0, "timeout": 5, **SECRETS[secrets]})
        assert capture.connections == 0, road


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.blob.core.windows.net.evil.example",
        "blob.core.windows.net",
        ".blob.core.windows.net",
        "evilblob.core.windows.net",
        "acct.evil.core.windows.net",
        "acct.blob.core.windows.net@evil.example",
        "acct@evil.example",
        "evil.example#.blob.core.windows.net",
        "evil.example?.blob.core.windows.net",
        "evil.example\\.blob.core.windows.net",
        "evil.example:443",
        "acct.blob.core.windows.net:8443",
        "acct.blob.core.windows.net.",
        "acct.blob.core.windows.net%2eevil.example",
        "acct.blob.core.window\u017f.net",
        "\u0430cct.blob.core.windows.net",
        "a.b.blob.core.windows.net",
        "acct.z1x.blob.storage.azure.net",
        "acct.blob.core.windows.net\n",
        "127.0.0.1",
        "",
    ],
)
@pytest.mark.parametrize("scheme", AZURE)
def test_hosts_that_look_like_azure_s_are_refused(scheme: str, host: str) -> None:
    url = f"opendal+{scheme}://data@{host}/x"
    with pytest.raises(OptionError, match="not a host of Azure"):
        fsspec.core.url_to_fs(url, sas_token="sig=hush")
    with pytest.raises(OptionError, match="not a host of Azure"):
        registry.url_to_fs(url, sas_token="sig=hush")


@pytest.mark.parametrize(
    ("host", "account"),
    [
        ("acct.blob.core.windows.net", "acct"),
        ("acct.dfs.core.windows.net", "acct"),
        ("ACCT.Blob.core.windows.NET", "acct"),
        ("acct.blob.core.chinacloudapi.cn", "acct"),
        ("acct.blob.core.usgovcloudapi.net", "acct"),
        ("acct.blob.core.cloudapi.de", "acct"),
        ("acct.z07.blob.storage.azure.net", "acct"),
        ("acct-secondary.blob.core.windows.net", "acct"),
        ("acct-secondary.z07.blob.storage.azure.net", "acct"),
        ("onelake.dfs.fabric.microsoft.com", "onelake"),
        ("westus-onelake.blob.fabric.microsoft.com", "westus-onelake"),
    ],
)
@pytest.mark.parametrize("scheme", AZURE)
def test_hosts_of_azure_are_served(scheme: str, host: str, account: str) -> None:
    fs, path = fsspec.core.url_to_fs(f"opendal+{scheme}://data@{host}/x", sas_token="sig=hush")
    assert path == "data/x"
    assert (fs.native["endpoint"], fs.native["account_name"]) == (f"https://{host.lower()}", account)


@pytest.mark.parametrize("scheme", ["azblob", "azdls"])
def test_the_host_of_the_own_endpoint_is_served(scheme: str, capture: ScriptedServer) -> None:
    options = {"endpoint": f"{capture.endpoint}/acct", "retries": 0, **SECRETS["key"]}
    url = f"opendal+{scheme}://data@{capture.host}/x.csv"
    for road, call in ROADS.items():
        capture.requests.clear()
        with suppress(Exception):
            call(url, dict(options))
        assert capture.requests, road
        assert all(request.target.startswith("/acct/data") for request in capture.requests)


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint": "https://acct.blob.core.windows.net", "sas_token": "sig=hush"},
        {"account_name": "acct", "account_key": KEY},
        {"account_name": "acct", "sas_token": "sig=hush"},
        {"connection_string": f"AccountName=acct;AccountKey={KEY}"},
        {"connection_string": f"AccountName=acct;AccountKey={KEY};EndpointSuffix=core.windows.net"},
        {"connection_string": "UseDevelopmentStorage=true"},
    ],
)
@pytest.mark.parametrize("host", ["other.blob.core.windows.net", "acctx.blob.core.windows.net"])
def test_credentials_of_one_account_are_not_sent_to_another(options: dict[str, str], host: str) -> None:
    url = f"opendal+azblob://data@{host}/x"
    with pytest.raises(OptionError, match="but the options are for") as caught:
        fsspec.core.url_to_fs(url, **options)
    assert KEY not in str(caught.value)
    with pytest.raises(OptionError, match="but the options are for"):
        registry.url_to_fs(url, **options)
    with pytest.raises(OptionError, match="but the options are for"):
        opendalfs_polars.target(url, storage_options=options)
    fs = opendalfs.AzblobFileSystem(**options)
    with pytest.raises(ValueError, match="on another server"):
        fs.locate(url)


def test_a_connection_string_and_an_option_that_differ_are_refused() -> None:
    text = f"AccountName=acct;AccountKey={KEY};EndpointSuffix=core.windows.net"
    with pytest.raises(OptionError, match="endpoint= differs from the connection_string") as caught:
        opendalfs.AzblobFileSystem(connection_string=text, endpoint="https://other.example")
    assert KEY not in str(caught.value)
    same = opendalfs.AzblobFileSystem(connection_string=text, endpoint="https://acct.blob.core.windows.net/")
    assert same.native["account_name"] == "acct"


def test_a_filesystem_without_an_account_serves_no_url_that_names_one() -> None:
    with pytest.raises(ValueError, match="on another server"):
        opendalfs.AzblobFileSystem(sas_token="sig=hush").locate(
            "opendal+azblob://data@acct.blob.core.windows.net/x"
        )


def test_only_azure_s_urls_name_an_account() -> None:
    with pytest.raises(ValueError, match="use ASCII letters"):
        opendalfs.S3FileSystem().locate("opendal+s3://data@evil.example/x")
    with pytest.raises(OptionError, match="no option 'url_host'"):
        opendalfs.S3FileSystem(url_host="evil.example")


# Servers in URLs


@pytest.mark.parametrize("road", [r for r in ROADS if r not in ("fsspec.filesystem",)])
def test_a_url_does_not_replace_the_endpoint_among_the_options(road: str, capture: ScriptedServer) -> None:
    options = {"endpoint": "http://127.0.0.1:9", "username": "me", "password": "hush-hush", "retries": 0}
    # fsspec itself refuses two endpoints with a TypeError.
    with pytest.raises((TypeError, *REFUSED), match=r"endpoint|another server"):
        ROADS[road](f"opendal+webdav://{capture.host}/x.csv", options)
    assert capture.connections == 0


def test_credentials_beside_a_url_go_to_its_server(capture: ScriptedServer) -> None:
    options = {"username": "me", "password": "hush-hush", "retries": 0}
    for road in ("fsspec.open", "url_to_fs", "polars"):
        capture.requests.clear()
        with suppress(Exception):
            ROADS[road](f"opendal+webdav://{capture.host}/x.csv", dict(options))
        assert all("authorization" in request.headers for request in capture.requests), road
        assert capture.requests, road


@pytest.mark.parametrize("secret", [{"password": "hush-hush", "username": "me"}, {"token": "hush-hush"}])
@pytest.mark.parametrize("road", ["arrow", "iceberg", "duckdb"])
def test_one_set_of_credentials_for_many_urls_needs_their_server(
    road: str, secret: dict[str, str], capture: ScriptedServer
) -> None:
    """A URL in a query or in the metadata of a table may come from somebody else."""
    url = f"opendal+webdav://{capture.host}/x.csv"
    with pytest.raises(REFUSED, match="pass endpoint= with the server that it is for"):
        ROADS[road](url, {"retries": 0, **secret})
    assert capture.connections == 0
    with suppress(Exception):
        ROADS[road](url, {"retries": 0, **secret, "endpoint": capture.endpoint})
    assert capture.requests


@pytest.fixture
def conf() -> Iterator[dict[str, Any]]:
    found: dict[str, Any] = fsspec.config.conf
    before = dict(found)
    yield found
    found.clear()
    found.update(before)


@pytest.mark.parametrize("endpoint", [None, "http://me:hush-hush@127.0.0.1:9"])
@pytest.mark.parametrize("road", [r for r in ROADS if r not in ("fsspec.filesystem",)])
def test_credentials_of_the_environment_go_to_no_server_of_a_url(
    road: str, endpoint: str | None, capture: ScriptedServer, conf: dict[str, Any]
) -> None:
    environment = {"FSSPEC_OPENDALWEBDAV_USERNAME": "me", "FSSPEC_OPENDALWEBDAV_PASSWORD": "hush-hush"}
    if endpoint:
        environment["FSSPEC_OPENDALWEBDAV_ENDPOINT"] = endpoint
    fsspec.config.set_conf_env(conf, environment)
    with pytest.raises(REFUSED, match="password in fsspec's configuration") as caught:
        ROADS[road](f"opendal+webdav://{capture.host}/x.csv", {"retries": 0})
    assert "hush-hush" not in str(caught.value)
    assert capture.connections == 0


def test_credentials_of_the_environment_go_to_their_own_server(
    capture: ScriptedServer, conf: dict[str, Any]
) -> None:
    environment = {
        "FSSPEC_OPENDALWEBDAV_USERNAME": "me",
        "FSSPEC_OPENDALWEBDAV_PASSWORD": "hush-hush",
        "FSSPEC_OPENDALWEBDAV_ENDPOINT": capture.endpoint,
    }
    fsspec.config.set_conf_env(conf, environment)
    for url in (f"opendal+webdav://{capture.host}/x", "opendal+webdav:///x"):
        fs, path = fsspec.core.url_to_fs(url)
        assert (fs.native["password"], fs.native["endpoint"], path) == ("hush-hush", capture.endpoint, "x")


def test_an_account_in_the_environment_s_configuration_is_held_to_its_host(conf: dict[str, Any]) -> None:
    environment = {"FSSPEC_OPENDALAZBLOB_ACCOUNT_NAME": "acct", "FSSPEC_OPENDALAZBLOB_ACCOUNT_KEY": KEY}
    fsspec.config.set_conf_env(conf, environment)
    with pytest.raises(OptionError, match="but the options are for 'acct'"):
        fsspec.core.url_to_fs("opendal+azblob://data@other.blob.core.windows.net/x")


def test_entry_points_name_the_secure_protocol_of_webdav() -> None:
    from importlib.metadata import entry_points

    named = {point.name for point in entry_points(group="fsspec.specs")}
    assert {"opendal+webdavs", "opendalwebdavs"} <= named
