"""Signature Version 4: the examples of AWS, and requests that are not what was signed."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendalfs_gateway import S3Endpoint, sigv4
from opendalfs_gateway.s3 import S3Error
from tests.integrations.serve.client import Raw, client_of

# The examples of AWS, "Signature Calculations for the Authorization Header", "... Chunked Upload" and
# "Authenticating Requests: Using Query Parameters".

KEYS = sigv4.Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
THEN = datetime(2013, 5, 24, tzinfo=UTC)
EMPTY = hashlib.sha256(b"").hexdigest()
SCOPE = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
CHUNKS = (
    (b"a" * 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
)


def request(method: str, target: str, headers: Mapping[str, str]) -> sigv4.SignedRequest:
    return sigv4.SignedRequest(
        method, target, lambda name: [headers[name]] if name in headers else [], list(headers)
    )


def header(signed: str, signature: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={signed},Signature={signature}"


GET = {
    "host": "examplebucket.s3.amazonaws.com",
    "range": "bytes=0-9",
    "x-amz-content-sha256": EMPTY,
    "x-amz-date": "20130524T000000Z",
    "authorization": header(
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
}
LIST = {
    "host": "examplebucket.s3.amazonaws.com",
    "x-amz-content-sha256": EMPTY,
    "x-amz-date": "20130524T000000Z",
    "authorization": header(
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}
CHUNKED = {
    "host": "s3.amazonaws.com",
    "x-amz-date": "20130524T000000Z",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "content-encoding": "aws-chunked",
    "x-amz-decoded-content-length": "66560",
    "content-length": "66824",
    "authorization": header(
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
        "x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    ),
}
PRESIGNED = (
    "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)
MALFORMED = "AuthorizationHeaderMalformed"
HOST = {"host": "examplebucket.s3.amazonaws.com"}


def test_the_examples_of_aws_are_valid() -> None:
    assert sigv4.verify(request("GET", "/test.txt", GET), KEYS, THEN).digest == EMPTY
    assert sigv4.verify(request("GET", "/?max-keys=2&prefix=J", LIST), KEYS, THEN).digest == EMPTY
    assert sigv4.verify(request("GET", PRESIGNED, HOST), KEYS, THEN).digest is None


def test_the_chunks_of_aws_are_valid_in_their_order_only() -> None:
    target = "/examplebucket/chunkObject.txt"
    payload = sigv4.verify(request("PUT", target, CHUNKED), KEYS, THEN)
    assert payload.chunked
    assert payload.signatures is not None
    for data, signature in CHUNKS:
        payload.signatures.check(signature, hashlib.sha256(data).hexdigest())
    again = sigv4.verify(request("PUT", target, CHUNKED), KEYS, THEN)
    assert again.signatures is not None
    data, signature = CHUNKS[1]
    with pytest.raises(S3Error, match="a chunk of the body") as error:
        again.signatures.check(signature, hashlib.sha256(data).hexdigest())
    assert (error.value.status, error.value.code) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("method", "target", "changes"),
    [
        ("PUT", "/test.txt", {}),
        ("GET", "/test.txT", {}),
        ("GET", "//test.txt", {}),
        ("GET", "/./test.txt", {}),
        ("GET", "/a/../test.txt", {}),
        ("GET", "/test.txt?acl", {}),
        ("GET", "/test.txt", {"range": "bytes=0-10"}),
        ("GET", "/test.txt", {"host": "other.s3.amazonaws.com"}),
        ("GET", "/test.txt", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}),
        ("GET", "/test.txt", {"x-amz-date": "20130524T000001Z"}),
        ("GET", "/test.txt", {"x-amz-copy-source": "/examplebucket/secret"}),
    ],
)
def test_a_request_that_differs_from_the_signed_one_is_refused(
    method: str, target: str, changes: dict[str, str]
) -> None:
    with pytest.raises(S3Error) as error:
        sigv4.verify(request(method, target, {**GET, **changes}), KEYS, THEN)
    assert error.value.status == 403


def test_a_signature_must_cover_the_host_and_all_headers_of_amazon() -> None:
    with pytest.raises(S3Error, match=r"not signed: x-amz-copy-source") as error:
        sigv4.verify(request("GET", PRESIGNED, {**HOST, "x-amz-copy-source": "/b/k"}), KEYS, THEN)
    assert error.value.status == 403
    without = {**GET, "authorization": GET["authorization"].replace("SignedHeaders=host;", "SignedHeaders=")}
    with pytest.raises(S3Error, match="not signed: host"):
        sigv4.verify(request("GET", "/test.txt", without), KEYS, THEN)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_the_clock_of_a_client_may_differ_by_15_minutes(minutes: int) -> None:
    near = timedelta(minutes=minutes * 14 // 16)
    sigv4.verify(request("GET", "/test.txt", GET), KEYS, THEN + near)
    with pytest.raises(S3Error) as error:
        sigv4.verify(request("GET", "/test.txt", GET), KEYS, THEN + timedelta(minutes=minutes))
    assert (error.value.status, error.value.code) == (403, "RequestTimeTooSkewed")


def test_a_presigned_url_is_valid_until_it_expires() -> None:
    signed = request("GET", PRESIGNED, HOST)
    sigv4.verify(signed, KEYS, THEN + timedelta(seconds=86399))
    with pytest.raises(S3Error, match="has expired"):
        sigv4.verify(signed, KEYS, THEN + timedelta(seconds=86400))
    with pytest.raises(S3Error, match="not valid yet"):
        sigv4.verify(signed, KEYS, THEN - timedelta(minutes=16))


@pytest.mark.parametrize("seconds", ["0", "-1", "604801", "", "1e3", "x"])
def test_a_presigned_url_is_valid_for_a_week_at_most(seconds: str) -> None:
    target = PRESIGNED.replace("X-Amz-Expires=86400", f"X-Amz-Expires={seconds}")
    with pytest.raises(S3Error, match="X-Amz-Expires") as error:
        sigv4.verify(request("GET", target, HOST), KEYS, THEN)
    assert error.value.status == 400


REGIONS = ("\udcff", "eu\udce91", "é", "\x7f", "a b", "\ud800")
"""Regions that are not ASCII; bytes that are not UTF-8 arrive as surrogates."""


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [
        ("", 403, "AccessDenied"),
        ("AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=", 400, "InvalidRequest"),
        ("Bearer x", 400, "InvalidRequest"),
        ("AWS4-ECDSA-P256-SHA256 Credential=x", 400, "InvalidRequest"),
        ("AWS4-HMAC-SHA256", 400, MALFORMED),
        (
            "AWS4-HMAC-SHA256 Credential=x/y,SignedHeaders=host,Signature=",
            400,
            MALFORMED,
        ),
        (
            f"AWS4-HMAC-SHA256 Credential={SCOPE.replace('/s3/', '/ec2/')},SignedHeaders=host,Signature=0",
            400,
            MALFORMED,
        ),
        *((GET["authorization"].replace("us-east-1", region), 400, MALFORMED) for region in REGIONS),
        (
            GET["authorization"].replace("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLF"),
            403,
            "InvalidAccessKeyId",
        ),
        (GET["authorization"].replace("20130524", "20130525"), 403, "AccessDenied"),
    ],
)
def test_other_credentials_are_refused(authorization: str, status: int, code: str) -> None:
    headers = {**GET, "authorization": authorization}
    if not authorization:
        del headers["authorization"]
    with pytest.raises(S3Error) as error:
        sigv4.verify(request("GET", "/test.txt", headers), KEYS, THEN)
    assert (error.value.status, error.value.code) == (status, code)


def test_keys_are_in_no_repr() -> None:
    assert KEYS.secret not in repr(KEYS)
    assert KEYS.access not in repr(KEYS)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.text(max_size=5))
def test_any_key_and_query_that_botocore_signs_is_valid(key: str, prefix: str) -> None:
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from botocore.utils import percent_encode, percent_encode_sequence

    try:
        query = percent_encode_sequence({"prefix": prefix, "list-type": "2"})
    except UnicodeEncodeError:
        return
    target = f"/bucket/{percent_encode(key, safe='/~')}?{query}"
    aws = AWSRequest("GET", f"http://127.0.0.1:1{target}", {"Host": "127.0.0.1:1"})
    botocore.auth.S3SigV4Auth(Credentials(KEYS.access, KEYS.secret), "s3", "eu-west-1").add_auth(aws)
    headers = {name.lower(): str(value) for name, value in aws.headers.items()}
    sigv4.verify(request("GET", target, headers), KEYS, datetime.now(UTC))


# Requests to a server


def test_requests_without_a_valid_signature_do_nothing(server: S3Endpoint, raw: Raw) -> None:
    s3 = client_of(server)
    s3.put_object(Bucket=server.bucket, Key="kept", Body=b"1")
    path = f"/{server.bucket}/kept"
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        assert raw.send(method, path).status == 403
        assert raw.send(method, path, {"Authorization": "AWS4-HMAC-SHA256 x"}).status == 400
        stolen = raw.signed("HEAD" if method != "HEAD" else "GET", path)
        assert raw.send(method, path, stolen).status == 403
    other = raw.signed("DELETE", path)
    other["Authorization"] = other["Authorization"][:-1] + ("0" if other["Authorization"][-1] != "0" else "1")
    answer = raw.send("DELETE", path, other)
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    assert server.secret_key.encode() not in answer.body
    assert s3.get_object(Bucket=server.bucket, Key="kept")["Body"].read() == b"1"


def test_a_body_other_than_the_signed_one_is_not_written(server: S3Endpoint, raw: Raw) -> None:
    path = f"/{server.bucket}/body"
    headers = raw.signed("PUT", path, b"right")
    answer = raw.send("PUT", path, headers, b"wrong")
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert raw.call("HEAD", path).status == 404
    assert raw.send("PUT", path, headers, b"right").status == 200
    assert raw.call("GET", path).body == b"right"


def test_a_request_must_say_how_its_body_is_signed(raw: Raw, server: S3Endpoint) -> None:
    path = f"/{server.bucket}/body"
    headers = raw.signed("GET", path)
    del headers["X-Amz-Content-SHA256"]
    assert raw.send("GET", path, headers).status == 400


def chunked(
    raw: Raw, path: str, chunks: list[bytes], trailer: bytes = b""
) -> tuple[dict[str, str], list[bytes]]:
    """Return headers and encoded chunks of an upload with signed chunks."""
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    length = sum(map(len, chunks))
    headers = {
        "host": raw.host,
        "x-amz-content-sha256": kind,
        "x-amz-date": when,
        "x-amz-decoded-content-length": str(length),
    }
    if trailer:
        headers["x-amz-trailer"] = trailer.partition(b":")[0].decode()
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        ["PUT", path, "", *(f"{n}:{headers[n]}" for n in sorted(headers)), "", names, kind]
    ).encode()
    scope = f"{when[:8]}/us-east-1/s3/aws4_request"
    key = f"AWS4{raw.server.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()

    def sign(kind: str, *lines: str) -> str:
        return hmac.new(key, "\n".join((kind, when, scope, *lines)).encode(), hashlib.sha256).hexdigest()

    signature = sign("AWS4-HMAC-SHA256", hashlib.sha256(canonical).hexdigest())
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={raw.server.access_key}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    encoded = []
    for chunk in [*chunks, b""]:
        signature = sign("AWS4-HMAC-SHA256-PAYLOAD", signature, EMPTY, hashlib.sha256(chunk).hexdigest())
        end = b"" if trailer and not chunk else b"\r\n"
        encoded.append(b"%x;chunk-signature=%s\r\n%s%s" % (len(chunk), signature.encode(), chunk, end))
    if trailer:
        signature = sign("AWS4-HMAC-SHA256-TRAILER", signature, hashlib.sha256(trailer + b"\n").hexdigest())
        encoded.append(b"%s\r\nx-amz-trailer-signature:%s\r\n\r\n" % (trailer, signature.encode()))
    return headers, encoded


CRC = b"x-amz-checksum-crc32:vbDA5A=="
"""The CRC-32 of b"123456789abc"."""


def test_signed_chunks_are_decoded_and_verified(server: S3Endpoint, raw: Raw) -> None:
    path = f"/{server.bucket}/chunks"
    for trailer in (b"", CRC):
        headers, encoded = chunked(raw, path, [b"12345678", b"9abc"], trailer)
        answer = raw.send("PUT", path, headers, b"".join(encoded))
        assert answer.status == 200, answer.body
        assert raw.call("GET", path).body == b"123456789abc"


@pytest.mark.parametrize(
    "change", ["data", "signature", "order", "missing", "end", "trailer", "checksum", "none"]
)
def test_chunks_other_than_the_signed_ones_are_not_written(server: S3Endpoint, raw: Raw, change: str) -> None:
    path = f"/{server.bucket}/chunks-{change}"
    trailer = CRC.replace(b"vb", b"NV") if change == "checksum" else CRC
    headers, encoded = chunked(raw, path, [b"12345678", b"9abc"], trailer)
    if change == "data":
        encoded[1] = encoded[1].replace(b"9abc", b"9abd")
    elif change == "signature":
        encoded[0] = encoded[0].replace(b"chunk-signature=", b"chunk-signature=0")
    elif change == "order":
        encoded[:2] = encoded[1::-1]
    elif change == "missing":
        del encoded[1]
    elif change == "end":
        del encoded[2:]
    elif change == "trailer":
        encoded[3] = encoded[3].replace(b"crc32:v", b"crc32:w")
    elif change == "none":
        encoded = [b"c\r\n123456789abc\r\n", b"0\r\n\r\n"]
    assert raw.send("PUT", path, headers, b"".join(encoded)).status in (400, 403)
    assert raw.call("HEAD", path).status == 404


def test_presigned_requests_do_what_was_signed_and_nothing_else(server: S3Endpoint, raw: Raw) -> None:
    s3 = client_of(server)
    s3.put_object(Bucket=server.bucket, Key="secret", Body=b"2")
    path = f"/{server.bucket}/presigned"
    put = raw.presigned("PUT", path)
    assert raw.send("PUT", put, data=b"1").status == 200
    assert raw.send("GET", raw.presigned("GET", path)).body == b"1"
    copying = {"x-amz-copy-source": f"/{server.bucket}/secret"}
    for method, target, headers in (
        ("DELETE", put, {}),
        ("GET", put, {}),
        ("PUT", put.replace("/presigned?", "/other?"), {}),
        ("PUT", f"{put}&uploads", {}),
        ("PUT", put.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), {}),
        ("PUT", put, copying),
    ):
        assert raw.send(method, target, headers).status == 403, (method, target)
    assert raw.send("PUT", put, raw.signed("PUT", path)).status == 400
    assert s3.get_object(Bucket=server.bucket, Key="presigned")["Body"].read() == b"1"
    url = s3.generate_presigned_url("get_object", {"Bucket": server.bucket, "Key": "presigned"}, ExpiresIn=60)
    assert raw.send("GET", url.removeprefix(server.endpoint)).body == b"1"


def test_two_signatures_in_one_request_are_refused(server: S3Endpoint, raw: Raw) -> None:
    path = f"/{server.bucket}/presigned"
    assert raw.send("GET", raw.presigned("GET", path), raw.signed("GET", path)).status == 400


def test_a_region_that_is_not_utf_8_is_a_malformed_signature(raw: Raw, server: S3Endpoint) -> None:
    path = f"/{server.bucket}/a"
    target = raw.presigned("GET", path).replace("us-east-1", "%FF%FE")
    header = raw.signed("GET", path)
    header["Authorization"] = header["Authorization"].replace("us-east-1", "\xff\xfe")
    for answer in (raw.send("GET", target), raw.send("GET", path, header)):
        assert (answer.status, answer.code) == (400, MALFORMED)
