"""Which headers travel through the router, and how a request's head is written. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fleet_contract.names import HEADER_REQUEST_ID, HEADER_USAGE
from fleet_router.connection import Head
from fleet_router.routes import Endpoint

Headers = list[tuple[bytes, bytes]]

OURS = b"x-modelfleet-"
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one connection: RFC 9110 section 7.6.1."""

NOT_FORWARDED = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    # Keys are the router's business: model servers know none.
    b"authorization",
    b"x-api-key",
    b"cookie",
    HEADER_REQUEST_ID.encode(),
}
UNBUFFERED = (b"x-accel-buffering", b"no")
"""Has nginx, and proxies like it, pass an event stream on as it comes, whatever their settings."""
EVENT_STREAM = b"text/event-stream"

NOT_RETURNED = HOP_BY_HOP | {
    b"date",
    b"server",
    UNBUFFERED[0],
    HEADER_REQUEST_ID.encode(),
}


def request_head(
    scope_headers: Iterable[tuple[bytes, bytes]],
    target: bytes,
    endpoint: Endpoint,
    request_id: str,
    length: int | None,
) -> bytes:
    """The head of the POST sent to `endpoint`; chunked when `length` is unknown."""
    headers = list(scope_headers)
    dropped = NOT_FORWARDED | named_by_connection(headers)
    lines = [
        b"POST " + endpoint.prefix.encode() + target + b" HTTP/1.1",
        b"host: " + endpoint.authority.encode(),
        HEADER_REQUEST_ID.encode() + b": " + request_id.encode(),
        HEADER_USAGE.encode() + b": 1",
        b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length,
    ]
    if endpoint.key:
        lines.append(b"authorization: Bearer " + endpoint.key.encode())
    lines += [
        name + b": " + value
        for name, value in headers
        if name not in dropped and not name.startswith(OURS)
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def response_headers(head: Head) -> Headers:
    """The headers of the server's answer that the client gets; `access` adds our own."""
    dropped = NOT_RETURNED | named_by_connection(head.headers)
    kept = [
        (name, value)
        for name, value in head.headers
        if name not in dropped and not name.startswith(OURS)
    ]
    streamed = (head.get(b"content-type") or b"").startswith(EVENT_STREAM)
    return [*kept, UNBUFFERED] if streamed else kept


def named_by_connection(headers: Headers) -> frozenset[bytes]:
    """Headers that `Connection` declares to be of this connection only."""
    return frozenset(
        token.strip().lower()
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    )
