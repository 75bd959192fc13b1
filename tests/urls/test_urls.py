"""URLs and paths: stripping one gives the other, on every service."""

from __future__ import annotations

from typing import Any

import fsspec
import fsspec.core
import pytest
from hypothesis import given
from hypothesis import strategies as st

import opendalfs
from opendalfs import OpendalFileSystem, urls
from opendalfs.fs.registry import filesystem_class
from opendalfs.fs.services import ServiceFileSystem
from opendalfs.services import SERVICES, Form, Service

ENDPOINTS = {s.scheme: f"{s.endpoint_scheme}://host:81" for s in SERVICES.values() if s.form is Form.ENDPOINT}

parts = st.text(st.characters(codec="utf-8", exclude_characters="/\0\n\r"), min_size=1, max_size=8).filter(
    lambda part: part == part.strip() and part not in (".", "..") and "::" not in part and "@" not in part
)
keys = st.lists(parts, min_size=1, max_size=4).map("/".join)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=3, max_size=12)
services = st.sampled_from(list(SERVICES.values()))


@st.composite
def places(draw: st.DrawFn) -> tuple[Service, str]:
    """Draw a service and a stripped path of it."""
    service = draw(services)
    key = draw(keys)
    if service.form is Form.CONTAINER:
        return service, f"{draw(names)}/{key}"
    if service.form is Form.HUB:
        kind = draw(st.sampled_from(["", "datasets/", "spaces/"]))
        revision = draw(st.sampled_from(["", "@main", "@refs%2Fpr%2F1"]))
        owner = draw(names.filter(lambda n: n not in ("datasets", "spaces", "models", "buckets")))
        return service, f"{kind}{owner}/{draw(names)}{revision}/{key}"
    return service, f"/{key}" if service.form is Form.ABSOLUTE else key


def make(service: Service, **options: Any) -> ServiceFileSystem:
    endpoint = ENDPOINTS.get(service.scheme)
    return filesystem_class(service.scheme)(**({service.endpoint: endpoint} if endpoint else {}), **options)


@given(places())
def test_strip_undoes_unstrip_and_is_idempotent(place: tuple[Service, str]) -> None:
    service, path = place
    url = urls.unstrip(service, path, ENDPOINTS.get(service.scheme))
    assert url.startswith(f"opendal+{service.scheme}://")
    assert urls.strip(service, url) == path
    assert urls.strip(service, path) == path
    assert urls.strip(service, url + "/") == path
    assert urls.unstrip(service, url, ENDPOINTS.get(service.scheme)) == url


@given(places())
def test_join_undoes_split_and_keys_are_whole(place: tuple[Service, str]) -> None:
    service, path = place
    container, key = urls.split(service, path)
    assert urls.join(service, container, key) == path
    assert urls.check_key(key, path) == key
    above = urls.join(service, container, "")
    assert urls.split(service, urls.strip(service, above)) == (container, "")


@given(places(), st.booleans())
def test_a_url_leads_back_to_the_same_filesystem_and_path(place: tuple[Service, str], plus: bool) -> None:
    service, path = place
    fs = make(service)
    url = fs.unstrip_protocol(path)
    if not plus:
        with_plus, without = service.protocols[0], service.protocols[len(service.protocols) // 2]
        url = url.replace(with_plus, without, 1)
    found, where = fsspec.core.url_to_fs(url)
    assert where == path
    assert found == fs
    assert fs._strip_protocol([url, path]) == [path, path]
    assert {k: v for k, v in fs._get_kwargs_from_urls(url).items() if fs.native.get(k) != v} == {}


@pytest.mark.parametrize("scheme", SERVICES)
def test_json_and_pickle_lead_back_to_the_same_filesystem(scheme: str) -> None:
    import pickle

    fs = make(SERVICES[scheme], retries=2, timeout=7)
    for twin in (type(fs).from_json(fs.to_json()), pickle.loads(pickle.dumps(fs))):
        assert twin is fs
        assert twin.native == fs.native
        assert twin.tuning.retries == 2


@pytest.mark.parametrize("scheme", SERVICES)
def test_every_protocol_leads_to_the_class_of_the_service(scheme: str) -> None:
    cls = filesystem_class(scheme)
    for protocol in SERVICES[scheme].protocols:
        assert fsspec.get_filesystem_class(protocol) is cls
        assert getattr(opendalfs, SERVICES[scheme].class_name) is cls


# Forms of URLs


@pytest.mark.parametrize(
    ("scheme", "url", "path"),
    [
        ("s3", "opendal+s3://bucket/a/b", "bucket/a/b"),
        ("s3", "opendals3://bucket/a/b/", "bucket/a/b"),
        ("s3", "s3://bucket/a", "bucket/a"),
        ("s3", "s3a://bucket/a", "bucket/a"),
        ("s3", "/bucket/a", "bucket/a"),
        ("s3", "opendal+s3://", ""),
        ("s3", "opendal+s3://bucket/a b?c#d%20e", "bucket/a b?c#d%20e"),
        ("gcs", "gs://bucket/a", "bucket/a"),
        ("azblob", "opendal+azblob://box@acct.blob.core.windows.net/a", "box/a"),
        ("azdls", "abfss://box@acct.dfs.core.windows.net/a/b", "box/a/b"),
        ("azblob", "az://box/user@home/a", "box/user@home/a"),
        ("fs", "opendal+fs:///a/b", "/a/b"),
        ("fs", "opendal+fs://a/b", "/a/b"),
        ("fs", "opendallocal:///a/b/", "/a/b"),
        ("fs", "file:///a/./b/../c", "/a/c"),
        ("fs", "/", "/"),
        ("memory", "opendal+memory://a/b", "a/b"),
        ("memory", "opendal+memory:///a/b", "a/b"),
        ("webdav", "opendal+webdav://u:p@host:80/a/b", "a/b"),
        ("webdav", "opendal+webdav:///a/b", "a/b"),
        ("webdav", "opendal+webdav://host", ""),
        ("http", "opendal+https://host/a", "a"),
        ("hf", "hf://datasets/o/n@main/a", "datasets/o/n@main/a"),
    ],
)
def test_forms_of_urls(scheme: str, url: str, path: str) -> None:
    assert filesystem_class(scheme)._strip_protocol(url) == path


@pytest.mark.parametrize(
    ("scheme", "url", "options"),
    [
        ("s3", "opendal+s3://bucket/a", {}),
        ("s3", "bucket/a", {}),
        ("fs", "opendal+fs:///a", {}),
        ("memory", "opendal+memory://host/a", {}),
        ("webdav", "opendal+webdav://host:81/a", {"endpoint": "http://host:81"}),
        ("webdav", "host:81/a", {}),
        (
            "webdav",
            "opendal+webdav://me:p%40ss@host/a@b",
            {"endpoint": "http://host", "username": "me", "password": "p@ss"},
        ),
        ("ftp", "opendal+ftp://me:pw@host/a", {"endpoint": "ftp://host", "user": "me", "password": "pw"}),
        ("http", "opendal+http://host/a", {"endpoint": "http://host"}),
        ("http", "opendal+https://host/a", {"endpoint": "https://host"}),
        ("http", "opendalhttps://host/a", {"endpoint": "https://host"}),
        ("http", "https://host/a", {"endpoint": "https://host"}),
        ("hdfs-native", "opendal+hdfs-native://host:9/a", {"name_node": "hdfs://host:9"}),
        ("redis", "opendal+redis://host:6379/a", {"endpoint": "redis://host:6379"}),
        (
            "azdls",
            "abfss://box@acct.dfs.core.windows.net/a",
            {"url_host": "acct.dfs.core.windows.net"},
        ),
        ("webdav", "opendal+webdavs://host:81/a", {"endpoint": "https://host:81"}),
        ("webdav", "opendalwebdavs://host/a", {"endpoint": "https://host"}),
        ("webdav", "davs://me:pw@host/a", {"endpoint": "https://host", "username": "me", "password": "pw"}),
        ("webdav", "dav://host/a", {"endpoint": "http://host"}),
    ],
)
def test_options_in_urls(scheme: str, url: str, options: dict[str, str]) -> None:
    assert filesystem_class(scheme)._get_kwargs_from_urls(url) == options


def test_a_password_in_a_url_of_a_service_that_takes_none_is_refused() -> None:
    with pytest.raises(ValueError, match="contains a user") as caught:
        fsspec.core.url_to_fs("opendal+ipfs://me:pw1234@host/a")
    assert "pw1234" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("datasets/o/n@v1", {"repo_type": "dataset", "repo_id": "o/n", "revision": "v1"}),
        ("o/n", {"repo_type": "model", "repo_id": "o/n"}),
        ("spaces/o/n@refs%2Fpr%2F1", {"repo_type": "space", "repo_id": "o/n", "revision": "refs/pr/1"}),
    ],
)
def test_a_repository_takes_the_containers_place(path: str, options: dict[str, str]) -> None:
    connection, key = opendalfs.HfFileSystem().locate(f"{path}/a/b")
    assert key == "a/b"
    assert connection.native == options


@pytest.mark.parametrize("ids", [{"lake": "id1", "sea": "id2"}, "lake=id1,sea=id2"])
def test_b2_takes_an_id_for_each_bucket_and_mixes_none_up(ids: Any) -> None:
    fs = opendalfs.B2FileSystem(bucket_id=ids, application_key_id="i", application_key="hush")
    bound = {name: fs.locate(f"{name}/key")[0].native for name in ("lake", "sea")}
    assert (bound["lake"]["bucket"], bound["lake"]["bucket_id"]) == ("lake", "id1")
    assert (bound["sea"]["bucket"], bound["sea"]["bucket_id"]) == ("sea", "id2")
    with pytest.raises(ValueError, match="needs the id of 'pond'"):
        fs.locate("pond/key")


def test_b2_refuses_an_id_that_does_not_say_whose_it_is() -> None:
    with pytest.raises(opendalfs.OptionError, match="value for each container"):
        opendalfs.B2FileSystem(bucket_id="id1")
    options = {"application_key_id": "i", "application_key": "hush"}
    bound = OpendalFileSystem("b2", bucket="lake", bucket_id="id1", **options)
    assert bound.locate("key")[0].native["bucket_id"] == "id1"


@pytest.mark.parametrize("path", ["datasets", "datasets/owner", "gpt2"])
def test_a_path_that_names_no_repository_says_so(path: str) -> None:
    with pytest.raises(ValueError, match="does not name a repository"):
        opendalfs.HfFileSystem().locate(path)


@pytest.mark.parametrize("endpoint", ["http://host/dav/", "https://host/dav"])
def test_a_url_has_no_host_where_it_could_not_say_the_whole_endpoint(endpoint: str) -> None:
    fs = opendalfs.WebdavFileSystem(endpoint=endpoint)
    url = fs.unstrip_protocol("a/b")
    assert url in ("opendal+webdav:///a/b", "opendal+webdavs:///a/b")
    assert fsspec.core.url_to_fs(url, endpoint=endpoint) == (fs, "a/b")


@pytest.mark.parametrize("url", ["opendal+https://host/a", "opendal+webdavs://host:81/a"])
def test_https_keeps_its_scheme(url: str) -> None:
    fs, path = fsspec.core.url_to_fs(url)
    assert fs.native["endpoint"].startswith("https://host")
    assert fs.unstrip_protocol(path) == url
    assert fsspec.core.url_to_fs(f"opendal+{fs.service.scheme}:///a", endpoint=fs.native["endpoint"])[0] == fs


@pytest.mark.parametrize("scheme", [s.scheme for s in SERVICES.values() if s.container])
def test_listing_all_containers_is_refused_and_names_the_alternative(scheme: str) -> None:
    fs = filesystem_class(scheme)()
    with pytest.raises(NotImplementedError, match=r"write 'opendal\+.*/key' \(OpenDAL cannot list the"):
        fs.ls("")


# Bound filesystems


def test_a_bound_filesystem_serves_its_own_urls() -> None:
    fs = OpendalFileSystem("s3", bucket="lake", root="/warehouse/x")
    assert fs.unstrip_protocol("t/a") == "opendal+s3://lake/warehouse/x/t/a"
    assert fs.locate(fs.unstrip_protocol("t/a"))[1] == "t/a"
    assert fs.locate("t/a")[1] == "t/a"
    assert fs.locate("/t/a/")[1] == "t/a"


@pytest.mark.parametrize(
    "url",
    [
        "opendal+s3://other/t/a",
        "opendals3://other/t/a",
        "opendal+s3://lake/elsewhere/a",
        "opendal+s3://lakes/warehouse/a",
        "opendal+gcs://lake/warehouse/a",
        "opendal+memory://lake/warehouse/a",
    ],
)
def test_a_bound_filesystem_refuses_urls_of_other_places(url: str) -> None:
    fs = OpendalFileSystem("s3", bucket="lake", root="/warehouse")
    with pytest.raises(ValueError, match="is not"):
        fs.locate(url)


def test_a_filesystem_refuses_urls_of_another_server() -> None:
    fs, _ = fsspec.core.url_to_fs("opendal+webdav://one:80/a")
    with pytest.raises(ValueError, match="on another server"):
        fs.cat_file("opendal+webdav://two:80/a")
    hdfs = opendalfs.HdfsNativeFileSystem(name_node="hdfs://one:9")
    with pytest.raises(ValueError, match="on another server"):
        hdfs.locate("opendal+hdfs-native://two:9/a")
    azure, _ = fsspec.core.url_to_fs("opendal+azblob://box@one.blob.core.windows.net/a")
    with pytest.raises(ValueError, match="on another server"):
        azure.locate("opendal+azblob://box@two.blob.core.windows.net/a")
