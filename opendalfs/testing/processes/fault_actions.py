"""What the proxy does to a request that has a fault.

Each action takes a `Case` and returns whether the client's connection can be used for another request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from opendalfs.testing.faults import Fault
from opendalfs.testing.processes.exchange import Exchange
from opendalfs.testing.processes.fault_rules import FaultRules, Rule
from opendalfs.testing.processes.proxy_connection import PIECE, Connection, Head

XML = "application/xml"
HTML = b"<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
EMPTY_PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>{bucket}</Name><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
    "</ListBucketResult>"
)
TOKEN = "<NextContinuationToken>repeated</NextContinuationToken>"
SECONDS = {"slow": 1.0, "trickle": 0.5}
STATUSES = {
    "status-500": ("500 Internal Server Error", "InternalError"),
    "status-503": ("503 Service Unavailable", "SlowDown"),
    "status-429": ("429 Too Many Requests", "TooManyRequests"),
    "status-403": ("403 Forbidden", "AccessDenied"),
    "status-404": ("404 Not Found", "NoSuchKey"),
    "status-416": ("416 Requested Range Not Satisfiable", "InvalidRange"),
    "status-301": ("301 Moved Permanently", "PermanentRedirect"),
    "status-307": ("307 Temporary Redirect", "TemporaryRedirect"),
    "expired-token": ("400 Bad Request", "ExpiredToken"),
    "throttle": ("503 Service Unavailable", "SlowDown"),
    "list-error": ("200 OK", "InternalError"),
    "error-200": ("200 OK", "InternalError"),
    "after-500": ("500 Internal Server Error", "InternalError"),
}


class Case(NamedTuple):
    """A request and the rule of its fault."""

    exchange: Exchange
    rules: FaultRules
    rule: Rule

    @property
    def fault(self) -> Fault:
        """The fault."""
        return self.rule.fault

    def wait(self) -> None:
        """Wait for the fault's seconds; raise `ConnectionClosed` if the client or `clear` ends the wait."""
        seconds = SECONDS.get(self.fault.name) if self.fault.seconds is None else self.fault.seconds
        self.rules.hold(self.rule, self.exchange.client, seconds)


def inject(exchange: Exchange, rules: FaultRules, slow: Rule | None, rule: Rule | None) -> bool:
    """Delay the response to a request by one rule, and respond as another one demands."""
    if slow is not None:
        Case(exchange, rules, slow).wait()
    if rule is None:
        return exchange.relay(*exchange.forward())
    return ACTIONS[rule.fault.name](Case(exchange, rules, rule))


# ------------------------------------------------------------------ responses of the proxy itself


def _status(case: Case) -> bool:
    exchange, fault = case.exchange, case.fault
    status, code = STATUSES[fault.name]
    location = fault.location
    if fault.name == "status-307" and location is None:
        location = f"http://{exchange.head.fields.get('host', '')}{exchange.head.first[1]}"
    retry_after = None if fault.retry_after is None else f"{fault.retry_after:g}"
    message = f"<Message>injected: {fault.name}</Message><Key>{exchange.request.key}</Key>"
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>{message}</Error>'.encode()
    return exchange.respond(status, body, content_type=XML, retry_after=retry_after, location=location)


def _bad_gateway(case: Case) -> bool:
    return case.exchange.respond("502 Bad Gateway", HTML, content_type="text/html")


def _html(case: Case) -> bool:
    return case.exchange.respond("200 OK", HTML, content_type="text/html")


def _blank(case: Case) -> bool:
    return case.exchange.respond("200 OK", b"", content_type=XML)


def _empty_page(case: Case) -> bool:
    page = EMPTY_PAGE.format(bucket=case.exchange.request.bucket)
    return case.exchange.respond("200 OK", page.encode(), content_type=XML)


def _repeated_page(case: Case) -> bool:
    exchange, pages = case.exchange, case.rule.pages
    path, _, query = exchange.head.first[1].partition("?")
    options = [one for one in query.split("&") if not one.startswith(("continuation-token=", "X-Amz-"))]
    target = f"{path}?{sorted(options)}"
    if target not in pages:
        response, server = exchange.forward()
        if response.first[1] != "200":
            return exchange.relay(response, server)
        page = exchange.read_body(response, server).decode()
        page = re.sub(r"<NextContinuationToken>.*?</NextContinuationToken>", "", page)
        page = re.sub(r"<IsTruncated>.*?</IsTruncated>", f"<IsTruncated>true</IsTruncated>{TOKEN}", page)
        pages[target] = page.encode()
    return exchange.respond("200 OK", pages[target], content_type=XML)


# ------------------------------------------------------------------ resets and stalls


def _stall(case: Case) -> bool:
    case.exchange.skip_body()
    case.wait()
    return False


def _black_hole(case: Case) -> bool:
    case.wait()
    return False


def _reset(case: Case) -> bool:
    case.exchange.skip_body()
    case.exchange.client.reset()
    return False


def _reset_upload(case: Case) -> bool:
    exchange = case.exchange
    server = exchange.send_head()
    if exchange.continue_from(server) is None:
        exchange.client.relay(server, (exchange.head.length or 0) // 2, exchange.count_received)
    server.reset()
    exchange.client.reset()
    return False


def _after(end: Callable[[Case], bool]) -> Callable[[Case], bool]:
    """Return an action that lets the server succeed, and then ends as another action."""

    def act(case: Case) -> bool:
        response, server = case.exchange.forward()
        if int(response.first[1]) >= 300:
            return case.exchange.relay(response, server)
        case.exchange.read_body(response, server)
        return end(case)

    return act


# ------------------------------------------------------------------ bodies


class Body(NamedTuple):
    """A response of the server, and how much of its body passes before the fault."""

    response: Head
    server: Connection
    after: int
    left: int


def _body(case: Case) -> Body:
    exchange = case.exchange
    response, server = exchange.forward()
    response = exchange.with_length(response, server)
    length = (response.length or 0) if exchange.has_body(response) else 0
    after = length // 2 if case.fault.after is None else min(case.fault.after, length)
    return Body(response, server, after, length - after)


def _start_of(case: Case) -> Body:
    """Send a response up to the fault."""
    body = _body(case)
    case.exchange.send_response(body.response)
    body.server.relay(case.exchange.client, body.after, case.exchange.count_sent)
    return body


def _reset_body(case: Case) -> bool:
    _start_of(case)
    case.exchange.client.reset()
    return False


def _short_body(case: Case) -> bool:
    _start_of(case)
    return False


def _stall_body(case: Case) -> bool:
    body = _start_of(case)
    case.wait()
    body.server.relay(case.exchange.client, body.left, case.exchange.count_sent)
    return case.exchange.keeps and not body.response.closes


def _trickle(case: Case) -> bool:
    exchange = case.exchange
    body = _body(case)
    exchange.send_response(body.response)
    left = body.after + body.left
    while left:
        piece = body.server.read(min(case.fault.piece, left))
        exchange.client.send(piece)
        exchange.count_sent(len(piece))
        left -= len(piece)
        case.wait()
    return exchange.keeps and not body.response.closes


def _short_chunked(case: Case) -> bool:
    exchange = case.exchange
    body = _body(case)
    exchange.send_response(body.response.edited(content_length=None, transfer_encoding="chunked"))
    if body.after:
        exchange.client.send(b"%x\r\n" % body.after)
        body.server.relay(exchange.client, body.after, exchange.count_sent)
        exchange.client.send(b"\r\n")
    return False


def _short_length(case: Case) -> bool:
    body = _body(case)
    case.exchange.send_response(body.response.edited(content_length=body.after))
    body.server.relay(case.exchange.client, body.after, case.exchange.count_sent)
    case.exchange.link.drop_server()
    return case.exchange.keeps


# ------------------------------------------------------------------ other objects and other ranges


def _wrong_etag(case: Case) -> bool:
    response, server = case.exchange.forward()
    return case.exchange.relay(response.edited(ETag='"00000000000000000000000000000bad"'), server)


def _overwritten(case: Case) -> bool:
    request, client, fault = case.exchange.request, case.rules.client, case.fault
    place = {"Bucket": request.bucket, "Key": request.key}
    with suppress(client.exceptions.ClientError):  # there is no object to overwrite
        size = client.head_object(**place)["ContentLength"]
        if fault.source is not None:
            client.copy_object(**place, CopySource={"Bucket": request.bucket, "Key": fault.source})
        else:
            client.put_object(**place, Body=b"!" * (size if fault.size is None else fault.size))
    return case.exchange.relay(*case.exchange.forward())


def _deleted(case: Case) -> bool:
    request = case.exchange.request
    case.rules.client.delete_object(Bucket=request.bucket, Key=request.key)
    return case.exchange.relay(*case.exchange.forward())


def _wrong_range(case: Case) -> bool:
    exchange = case.exchange
    response, server = exchange.forward()
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.fields.get("content-range", ""))
    if found is None:
        return exchange.relay(response, server)
    start, last, size = map(int, found.groups())
    length = last + 1 - start
    shifted = start + length if last + length < size else max(0, start - length)
    if shifted == start:  # the whole object
        shifted = start + (length + 1) // 2
    last = min(shifted + length, size) - 1
    exchange.link.drop_server()
    head = response.edited(content_range=f"bytes {shifted}-{last}/{size}", content_length=last + 1 - shifted)
    return _send_object(case, head, Range=f"bytes={shifted}-{last}")


def _ignored_range(case: Case) -> bool:
    response, server = case.exchange.forward()
    found = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.fields.get("content-range", ""))
    if found is None:
        return case.exchange.relay(response, server)
    case.exchange.link.drop_server()
    head = response.edited("HTTP/1.1 200 OK", content_range=None, content_length=found[1])
    return _send_object(case, head)


def _send_object(case: Case, head: Head, **options: str) -> bool:
    """Send a response with bytes that the client has not requested."""
    exchange, request = case.exchange, case.exchange.request
    body = case.rules.client.get_object(Bucket=request.bucket, Key=request.key, **options)["Body"]
    pieces: Iterable[bytes] = body.iter_chunks(PIECE)
    exchange.send_response(head)
    for piece in pieces:
        exchange.client.send(piece)
        exchange.count_sent(len(piece))
    return exchange.keeps


ACTIONS: dict[str, Callable[[Case], bool]] = {
    **dict.fromkeys(STATUSES, _status),
    "status-502": _bad_gateway,
    "reset-before": _reset,
    "reset-upload": _reset_upload,
    "reset-body": _reset_body,
    "short-body": _short_body,
    "short-chunked": _short_chunked,
    "short-length": _short_length,
    "stall-before": _stall,
    "stall-body": _stall_body,
    "trickle": _trickle,
    "wrong-range": _wrong_range,
    "ignored-range": _ignored_range,
    "wrong-etag": _wrong_etag,
    "overwritten": _overwritten,
    "deleted": _deleted,
    "list-empty": _empty_page,
    "list-blank": _blank,
    "list-html": _html,
    "list-repeated": _repeated_page,
    "after-500": _after(_status),
    "after-reset": _after(_reset),
    "after-stall": _after(_stall),
    "black-hole": _black_hole,
}
CLIENT_FAULTS = {"overwritten", "deleted", "wrong-range", "ignored-range"}
"""Faults that need a client of the server."""
