"""Signed URLs: what anybody can do with one, on real servers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import pickle
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

import opendalfs
from opendalfs import OptionError, SignedURL, UnsupportedError
from opendalfs.services import SERVICES
from opendalfs.testing import Moto, S3Server
from tests.credentials.test_gcs import private_key, service_account

__all__ = ["private_key"]


def send(url: SignedURL, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Send the request of a signed URL, and return the status and the body."""
    request = urllib.request.Request(url, data, {**url.headers, **headers}, method=url.method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, b""


@pytest.fixture
def fs(s3_server: S3Server) -> opendalfs.S3FileSystem:
    return opendalfs.S3FileSystem(**s3_server.options, skip_instance_cache=True)


def test_each_method_is_signed(fs: Any, prefix: str) -> None:
    path = f"{prefix}/a b/ü+%.txt"
    put = fs.sign(path, method="PUT")
    assert (put.method, put.headers) == ("PUT", {})
    # urllib adds a content type of its own, which is not signed.
    assert send(put, b"hello", **{"Content-Type": "text/plain"})[0] == 200
    assert fs.cat_file(path) == b"hello"
    assert send(fs.sign(path)) == send(fs.sign(path, method="get")) == (200, b"hello")
    assert send(fs.sign(path, method="HEAD")) == (200, b"")
    assert send(fs.sign(path, method="DELETE"))[0] == 204
    assert not fs.exists(path)
    assert send(fs.sign(path, method="HEAD"))[0] == 404


def test_url_signs_what_s3fs_signs(fs: Any, prefix: str) -> None:
    path = f"{prefix}/a"
    assert send(fs.url(path, client_method="put_object"), b"x", **{"Content-Type": "a/b"})[0] == 200
    assert send(fs.url(path, client_method="head_object"))[0] == 200
    assert send(fs.url(path)) == (200, b"x")
    assert send(fs.url(path, client_method="delete_object"))[0] == 204
    with pytest.raises(UnsupportedError, match="cannot sign 'list_objects_v2'"):
        fs.url(path, client_method="list_objects_v2")


def test_a_url_signs_no_other_method(fs: Any, prefix: str) -> None:
    path = f"{prefix}/a"
    fs.pipe_file(path, b"x")
    url = SignedURL(fs.sign(path), "PUT")
    assert send(url, b"other", **{"Content-Type": "a/b"})[0] == 403
    assert send(SignedURL(fs.sign(path, method="PUT"), "DELETE"))[0] == 403
    assert fs.cat_file(path) == b"x"


def test_a_url_signs_no_other_file(fs: Any, prefix: str) -> None:
    fs.pipe({f"{prefix}/a": b"x", f"{prefix}/b": b"y"})
    for method, data in (("GET", None), ("PUT", b"other"), ("DELETE", None)):
        url = fs.sign(f"{prefix}/a", method=method)
        other = SignedURL(url.replace(f"{prefix}/a?", f"{prefix}/b?"), method)
        assert other != url
        assert send(other, data, **({"Content-Type": "a/b"} if data else {}))[0] == 403
    assert fs.cat_file(f"{prefix}/b") == b"y"


def test_a_url_expires(fs: Any, prefix: str) -> None:
    fs.pipe_file(f"{prefix}/a", b"x")
    url = fs.sign(f"{prefix}/a", expiration=1)
    assert "X-Amz-Expires=1&" in url
    time.sleep(2.1)
    assert send(url)[0] == 403


def test_the_headers_of_a_signed_write_must_be_sent_and_are_stored(
    moto_server: Moto, fs: Any, prefix: str
) -> None:
    moto: Any = opendalfs.S3FileSystem(**moto_server.options, skip_instance_cache=True)
    path = f"{moto_server.bucket}/signed"
    url = moto.sign(
        path, method="PUT", ContentType="text/csv", Metadata={"who": "me"}, StorageClass="GLACIER"
    )
    assert url.headers == {
        "content-type": "text/csv",
        "x-amz-meta-who": "me",
        "x-amz-storage-class": "GLACIER",
    }
    assert send(url, b"1,2")[0] == 200
    info = moto.info(path, refresh=True)
    assert (info["ContentType"], info["metadata"]) == ("text/csv", {"who": "me"})
    # SeaweedFS checks the signature, moto does not.
    url = fs.sign(f"{prefix}/a", method="PUT", content_type="text/csv")
    assert send(SignedURL(url, "PUT"), b"1,2", **{"Content-Type": "text/html"})[0] == 403
    assert send(url, b"1,2")[0] == 200
    assert fs.info(f"{prefix}/a", refresh=True)["ContentType"] == "text/csv"


async def test_coroutines_sign_too(s3_server: S3Server, prefix: str) -> None:
    fs: Any = opendalfs.S3FileSystem(**s3_server.options, asynchronous=True, skip_instance_cache=True)
    url = await fs._sign(f"{prefix}/a", 60, "PUT")
    assert send(url, b"x", **{"Content-Type": "a/b"})[0] == 200
    assert await fs._cat_file(f"{prefix}/a") == b"x"


def test_requester_pays_is_a_header_of_the_url() -> None:
    fs = opendalfs.filesystem("s3", key="k", secret="s", region="x", requester_pays=True)
    assert fs.sign("lake/key").headers == {"x-amz-request-payer": "requester"}


@pytest.mark.parametrize("scheme", ["s3", "gcs"])
def test_the_url_of_an_anonymous_filesystem_is_plain(scheme: str) -> None:
    options = {"region": "eu-1"} if scheme == "s3" else {}
    fs = opendalfs.filesystem(scheme, anon=True, **options)
    assert fs.url("lake/a/key.txt").endswith("/lake/a/key.txt")
    assert fs.url("lake/a/key.txt").startswith("https://")


def test_a_signed_url_is_a_str_that_pickles() -> None:
    url = SignedURL("https://x/y", "PUT", {"a": "b"})
    again = pickle.loads(pickle.dumps(url))
    assert (again, again.method, again.headers) == (url, "PUT", {"a": "b"})
    assert isinstance(url, str)
    assert url == "https://x/y"


def test_what_cannot_be_signed_is_an_error(fs: Any, prefix: str) -> None:
    path = f"{prefix}/a"
    with pytest.raises(ValueError, match="method must be one of GET, HEAD, PUT, DELETE, not 'POST'"):
        fs.sign(path, method="POST")
    with pytest.raises(OptionError, match="a signed GET takes no options: leave out content_type"):
        fs.sign(path, content_type="a/b")
    with pytest.raises(OptionError, match="one request"):
        fs.sign(path, method="PUT", chunksize=1)
    with pytest.raises(OptionError, match="unknown option of a write"):
        fs.sign(path, method="PUT", content_typ="a/b")
    with pytest.raises(IsADirectoryError, match="without a key"):
        fs.sign(prefix.partition("/")[0], method="DELETE")


@pytest.mark.parametrize("seconds", [0, -1, 604_801, 10**12, 2**64, float("nan")])
def test_an_expiration_that_no_server_accepts_is_an_error(fs: Any, prefix: str, seconds: float) -> None:
    for sign in (fs.sign, fs.url):
        with pytest.raises(ValueError, match=f"expiration must be 1 to 604800 seconds for s3, not {seconds}"):
            sign(f"{prefix}/a", seconds)
    with pytest.raises(TypeError):
        fs.sign(f"{prefix}/a", 1.5)
    assert "X-Amz-Expires=604800&" in fs.sign(f"{prefix}/a", 604_800)


@pytest.mark.parametrize("scheme", ["oss", "obs", "swift"])
def test_other_services_sign_for_years(scheme: str) -> None:
    fs: Any = opendalfs.filesystem(scheme, skip_instance_cache=True, **SIGNING[scheme])
    assert fs.sign("lake/key", 365 * 86_400).startswith("https://")
    with pytest.raises(ValueError, match=f"expiration must be 1 to 315360000 seconds for {scheme}"):
        fs.sign("lake/key", 10**12)


def test_obs_signs_the_bucket_which_is_in_the_host() -> None:
    """As Huawei describes it ("Authentication of Signature in a URL"); no server of OBS is reached here."""
    host = "obs.cn-north-4.myhuaweicloud.com"
    fs: Any = opendalfs.filesystem("obs", **{**SIGNING["obs"], "endpoint": f"https://{host}"})
    for method in ("GET", "HEAD", "PUT"):
        url = urlsplit(fs.sign("lake/d/a b", 60, method))
        query = dict(parse_qsl(url.query))
        assert (url.scheme, url.netloc, url.path) == ("https", f"lake.{host}", "/d/a%20b")
        text = f"{method}\n\n\n{query['Expires']}\n/lake/d/a%20b"
        expected = base64.b64encode(hmac.new(b"s", text.encode(), hashlib.sha1).digest()).decode()
        assert query == {"AccessKeyId": "k", "Expires": query["Expires"], "Signature": expected}


SIGNING: dict[str, dict[str, Any]] = {
    "s3": {"endpoint": "https://s3.test", "key": "k", "secret": "s", "region": "x"},
    "oss": {"endpoint": "https://oss.test", "key": "k", "secret": "s"},
    "gcs": {},
    "obs": {"endpoint": "https://obs.test", "access_key_id": "k", "secret_access_key": "s"},
    "tos": {"endpoint": "https://tos.test", "access_key_id": "k", "secret_access_key": "s", "region": "x"},
    "swift": {"endpoint": "https://swift.test/v1/a", "token": "t", "temp_url_key": "k"},
}
COS: dict[str, Any] = {"endpoint": "https://cos.test", "secret_id": "k", "secret_key": "s"}
B2: dict[str, Any] = {"bucket_id": {"lake": "id"}, "application_key_id": "i", "application_key": "k"}
WRITES: dict[str, Any] = {
    "content_type": "text/x-test",
    "content_disposition": "attachment",
    "content_encoding": "gzip",
    "cache_control": "no-store",
    "metadata": {"Who": "me", "when": "now"},
    "storage_class": "x-class",
    "server_side_encryption": "aws:kms",
    "acl": "publicRead",
    "if_match": '"etag"',
}
# The others lack the option for any write.
CANNOT_SIGN = {
    ("gcs", "cache_control"),
    ("tos", "if_match"),
    *(("swift", f"content_{name}") for name in ("type", "disposition", "encoding")),
    ("swift", "cache_control"),
    ("swift", "metadata"),
}


def gcs_options(private_key: str, tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(service_account("me", private_key)))
    return {"token": str(file)}


def test_the_services_that_sign_are_those_of_the_tests() -> None:
    # `http` has public files, whose URL needs no signature.
    assert {service.scheme for service in SERVICES.values() if service.signs} == {*SIGNING, "http"}


@pytest.mark.parametrize("scheme", SIGNING)
def test_each_option_of_a_signed_write_is_a_header_or_an_error(
    scheme: str, private_key: str, tmp_path: Path
) -> None:
    options = gcs_options(private_key, tmp_path) if scheme == "gcs" else SIGNING[scheme]
    fs: Any = opendalfs.filesystem(scheme, skip_instance_cache=True, **options)
    errors: dict[str, str] = {}
    for name, value in WRITES.items():
        try:
            url = fs.sign("lake/key", method="PUT", **{name: value})
        except OptionError as exc:
            errors[name] = str(exc)
            continue
        texts = set(value.values()) if name == "metadata" else {value}
        if (scheme, name) == ("gcs", "acl"):
            # OpenDAL translates it for the XML API of Google.
            texts = {"public-read"}
        assert set(url.headers.values()) == texts, (name, url.headers)
    cannot = {name for name, text in errors.items() if f"the service {scheme} cannot sign {name}: " in text}
    assert {(scheme, name) for name in cannot} == {pair for pair in CANNOT_SIGN if pair[0] == scheme}
    for name in errors.keys() - cannot:
        assert f"the service {scheme} takes no {name}" in errors[name]


@pytest.mark.parametrize("key", ["a", "a b/ü+%.txt"])
def test_swift_signs_what_its_documentation_says(key: str) -> None:
    """The method, the end and the path, as they are (OpenStack, "TempURL middleware")."""
    fs: Any = opendalfs.filesystem("swift", skip_instance_cache=True, **SIGNING["swift"])
    query = parse_qs(urlsplit(fs.sign(f"lake/{key}", method="PUT")).query)
    text = f"PUT\n{query['temp_url_expires'][0]}\n/v1/a/lake/{key}"
    digest = base64.b64encode(hmac.digest(b"k", text.encode(), hashlib.sha256)).decode()
    assert query["temp_url_sig"] == [f"sha256:{digest}"]


# For Azure, OpenDAL would append the SAS token of the options, or one with all rights for an hour; for B2 it
# would return tokens for the whole bucket, in the headers. For COS the URL would be valid for the same key in
# each bucket of the account.
@pytest.mark.parametrize(
    ("scheme", "options", "methods"),
    [
        ("memory", {}, "GET HEAD PUT DELETE"),
        ("azblob", {"account_name": "a", "account_key": "YQ=="}, "GET HEAD PUT DELETE"),
        ("azblob", {"account_name": "a", "sas_token": "sv=1&sig=x"}, "GET HEAD PUT DELETE"),
        ("b2", B2, "GET HEAD PUT DELETE"),
        ("oss", SIGNING["oss"], "DELETE"),
        ("cos", COS, "GET HEAD PUT DELETE"),
        ("gcs", {"anon": True}, "DELETE"),
        ("swift", {"endpoint": "https://swift.test/v1/a", "token": "t"}, "GET HEAD PUT DELETE"),
        ("http", {"endpoint": "https://http.test"}, "PUT DELETE"),
    ],
)
def test_a_method_that_the_service_does_not_sign_is_an_error(
    scheme: str, options: dict[str, Any], methods: str
) -> None:
    fs: Any = opendalfs.filesystem(scheme, skip_instance_cache=True, **options)
    for method in methods.split():
        with pytest.raises(UnsupportedError, match=f"the service {scheme} cannot sign URLs for {method}"):
            fs.sign("lake/key", method=method)


def test_the_error_names_what_signs_instead() -> None:
    b2: Any = opendalfs.filesystem("b2", **B2)
    with pytest.raises(UnsupportedError, match="for GET: use the service s3 with the endpoint_url="):
        b2.sign("lake/key")
    azure: Any = opendalfs.filesystem("azblob", account_name="a", account_key="YQ==")
    with pytest.raises(UnsupportedError, match=r"for GET: use generate_blob_sas\(\) of azure-storage-blob"):
        azure.sign("lake/key")
    cos: Any = opendalfs.filesystem("cos", **COS)
    with pytest.raises(UnsupportedError, match=r"for PUT: use get_presigned_url\(\) of cos-python-sdk-v5"):
        cos.sign("lake/key", method="PUT")


def test_headers_that_the_client_sets_itself_are_left_out() -> None:
    oss = opendalfs.filesystem("oss", endpoint="https://oss.test", key="k", secret="s")
    assert oss.sign("lake/key", method="PUT", metadata={"a": "b"}).headers == {"x-oss-meta-a": "b"}
    obs = opendalfs.filesystem("obs", skip_instance_cache=True, **SIGNING["obs"])
    assert obs.sign("lake/key").headers == {}


def test_gcs_signs_no_key_that_opendal_would_not_encode(private_key: str, tmp_path: Path) -> None:
    options = gcs_options(private_key, tmp_path)
    fs = opendalfs.filesystem("gcs", skip_instance_cache=True, **options)
    assert fs.sign("lake/a/k-1.txt", method="PUT").startswith(
        "https://storage.googleapis.com/lake/a/k-1.txt?"
    )
    for key in ("a b", "ü", "50%", "a%20b", "a+b", "a?b"):
        with pytest.raises(UnsupportedError, match="Cannot sign this key for GCS"):
            fs.sign(f"lake/{key}")
        for credentials in (options, {"anon": True}):
            below: Any = opendalfs.filesystem("gcs", root=key, skip_instance_cache=True, **credentials)
            with pytest.raises(UnsupportedError, match="in root and key"):
                below.url("lake/a")
    plain = opendalfs.filesystem("gcs", anon=True, root="/r-1/", skip_instance_cache=True)
    assert plain.url("lake/a") == "https://storage.googleapis.com/lake/r-1/a"
    with pytest.raises(PermissionError, match="Cannot sign without the key of a service account"):
        opendalfs.filesystem("gcs", token="ya29.token", skip_instance_cache=True).sign("lake/a")


def test_the_newest_credentials_of_a_provider_sign(s3_server: S3Server, prefix: str) -> None:
    given = iter(("first", s3_server.access_key))

    def provide() -> tuple[dict[str, str], float]:
        return {"key": next(given), "secret": s3_server.secret_key}, time.time() + 1

    options = {name: value for name, value in s3_server.options.items() if name not in ("key", "secret")}
    fs: Any = opendalfs.filesystem("s3", credential_provider=provide, skip_instance_cache=True, **options)
    assert "X-Amz-Credential=first%2F" in fs.sign(f"{prefix}/a")
    time.sleep(1.5)
    url = fs.sign(f"{prefix}/a", method="PUT", storage_class="STANDARD")
    assert send(url, b"x", **{"Content-Type": "a/b"})[0] == 200
