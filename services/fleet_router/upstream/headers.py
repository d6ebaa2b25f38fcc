"""The headers of upstream requests and of responses to clients. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar

from fleet_contract.errors import FleetError
from fleet_contract.names import HEADER_HOPS, HEADER_REQUEST_ID, HEADER_USAGE
from fleet_contract.server_protocol import CALLER_HEADER
from fleet_router.routing.table import Endpoint
from fleet_router.upstream.connection import Head

Headers = list[tuple[bytes, bytes]]

OWN_PREFIX = b"x-modelfleet-"
REQUEST_ID = HEADER_REQUEST_ID.encode()
CALLER = CALLER_HEADER.encode()
HOPS = HEADER_HOPS.encode()
MAX_HOPS = 4
"""Routers a request may pass on its way to a server."""
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
    b"content-encoding",  # the router has decoded the body
    b"expect",
    # Credentials are for the router; model servers check none.
    b"authorization",
    b"x-api-key",
    b"api-key",
    b"x-goog-api-key",
    b"cookie",
    # The router has checked it; it means nothing to servers.
    b"origin",
    REQUEST_ID,
}
IDENTITY = frozenset(
    {
        b"forwarded",
        b"via",
        b"referer",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-client-cert",
        b"x-real-ip",
        b"x-client-ip",
        b"x-envoy-external-address",
        b"cf-connecting-ip",
        b"true-client-ip",
    }
)
"""What proxies and browsers add about clients: not for other providers."""
TO_PROVIDERS = NOT_FORWARDED | IDENTITY

UNBUFFERED = (b"x-accel-buffering", b"no")
"""Makes nginx and similar proxies forward an event stream without buffering."""
EVENT_STREAM = b"text/event-stream"

NOT_RETURNED = HOP_BY_HOP | {
    b"date",
    b"server",
    UNBUFFERED[0],
    REQUEST_ID,
}


class LoopDetected(FleetError):
    """A request passed too many routers."""

    status: ClassVar[int] = 508
    default_code = "loop_detected"


def next_hop(scope_headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The number of routers a request has passed, this one included. Raises LoopDetected."""
    sent = next((value for name, value in scope_headers if name == HOPS), b"0")
    hops = int(sent) if sent.isdigit() and len(sent) < 4 else MAX_HOPS
    if hops >= MAX_HOPS:
        raise LoopDetected(
            f"The request passed {hops} routers: the address of a remote model leads back to a"
            " router that sends it on."
        )
    return hops + 1


def request_head(
    scope_headers: Iterable[tuple[bytes, bytes]],
    target: bytes,
    endpoint: Endpoint,
    request_id: str,
    length: int | None,
    caller: str = "",
    hops: int = 0,
) -> bytes:
    """The head of the POST to `endpoint`; chunked if `length` is None. `caller` "" and `hops` 0 are
    not sent; only requests to other providers have hops, and nothing in them identifies clients."""
    start, end = _request_line(endpoint)
    framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    dropped = TO_PROVIDERS if hops else NOT_FORWARDED
    lines = [
        start + target + end,
        REQUEST_ID + b": " + request_id.encode(),
        HEADER_USAGE.encode() + b": 1",
        framing,
        *(name + b": " + value for name, value in _forwarded(scope_headers, dropped)),
    ]
    if caller:
        lines.append(CALLER + b": " + caller.encode())
    if hops:
        lines.append(HOPS + b": %d" % hops)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def response_headers(head: Head) -> Headers:
    """The headers of the server's response that the client gets; the access log adds more."""
    forwarded = _forwarded(head.headers, NOT_RETURNED)
    streamed = (head.get(b"content-type") or b"").startswith(EVENT_STREAM)
    return [*forwarded, UNBUFFERED] if streamed else forwarded


@lru_cache(maxsize=1024)
def _request_line(endpoint: Endpoint) -> tuple[bytes, bytes]:
    """The bytes before and after the target of every request to `endpoint`: its request line, host
    and authorization. Cached, since every request needs them."""
    lines = [b" HTTP/1.1", b"host: " + endpoint.authority.encode()]
    if endpoint.key:
        lines.append(b"authorization: Bearer " + endpoint.key.encode())
    return b"POST " + endpoint.prefix.encode(), b"\r\n".join(lines)


def _forwarded(headers: Iterable[tuple[bytes, bytes]], dropped: frozenset[bytes]) -> Headers:
    """Without those in `dropped`, this project's own, and those that `Connection` names."""
    forwarded, named = [], set()
    for name, value in headers:
        if name == b"connection":
            named |= {token.strip().lower() for token in value.split(b",")}
        elif name not in dropped and not name.startswith(OWN_PREFIX):
            forwarded.append((name, value))
    # In a second pass: `Connection` may follow the headers that it names.
    return [pair for pair in forwarded if pair[0] not in named] if named else forwarded
