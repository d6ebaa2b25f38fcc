"""Forwarded headers, and the head of upstream requests."""

from __future__ import annotations

import pytest

from fleet_router.routing.table import Endpoint
from fleet_router.upstream.connection import Head
from fleet_router.upstream.headers import (
    MAX_HOPS,
    LoopDetected,
    next_hop,
    request_head,
    response_headers,
)

ENDPOINT = Endpoint("e", "::1", 9, prefix="/base")


def lines(*headers: tuple[bytes, bytes], length: int | None = 5) -> list[bytes]:
    return request_head(headers, b"/v1/x?y=1", ENDPOINT, "req-1", length).split(b"\r\n")


def test_the_head_names_server_path_and_length() -> None:
    assert lines() == [
        b"POST /base/v1/x?y=1 HTTP/1.1", b"host: [::1]:9", b"x-request-id: req-1",
        b"x-modelfleet-usage: 1", b"content-length: 5", b"", b"",
    ]  # fmt: skip
    assert b"transfer-encoding: chunked" in lines(length=None)


def test_headers_of_the_connection_and_of_ours_do_not_pass() -> None:
    got = lines(
        (b"host", b"client"),
        (b"content-length", b"7"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close, X-Named"),
        (b"x-named", b"1"),
        (b"expect", b"100-continue"),
        (b"x-request-id", b"theirs"),
        (b"x-modelfleet-cold", b"true"),
        (b"x-modelfleet-usage", b"theirs"),
        (b"x-modelfleet-caller", b"theirs"),
        (b"x-api-key", b"key"),
        (b"api-key", b"key"),
        (b"x-goog-api-key", b"key"),
        (b"cookie", b"key"),
        (b"authorization", b"Bearer key"),
        (b"accept", b"*/*"),
    )
    assert got[4:] == [b"content-length: 5", b"accept: */*", b"", b""]


def test_the_caller_is_sent_where_it_is_given() -> None:
    head = request_head([(b"x-modelfleet-caller", b"theirs")], b"/v1/x", ENDPOINT, "r", 5, "ab12")
    assert [line for line in head.split(b"\r\n") if b"caller" in line] == [
        b"x-modelfleet-caller: ab12"
    ]


def test_other_providers_get_nothing_that_identifies_clients() -> None:
    headers = [
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"forwarded", b"for=192.0.2.1"),
        (b"x-forwarded-client-cert", b"Subject=..."),
        (b"user-agent", b"python"),
    ]

    def forwarded(hops: int) -> list[bytes]:
        head = request_head(headers, b"/v1/x", ENDPOINT, "r", 5, hops=hops)
        return [line for line in head.split(b"\r\n") if b"192.0.2.1" in line or b"Subj" in line]

    assert forwarded(1) == []
    assert len(forwarded(0)) == 3


def test_headers_that_identify_the_server_are_dropped() -> None:
    head = Head(
        200,
        [
            (b"content-type", b"application/json"),
            (b"connection", b"x-named"),
            (b"x-named", b"1"),
            (b"x-modelfleet-endpoint", b"lie"),
            (b"x-modelfleet-queue-ms", b"3"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
        ],
    )
    assert response_headers(head) == [
        (b"content-type", b"application/json"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]


def test_an_event_stream_disables_buffering_in_proxies() -> None:
    kind = (b"content-type", b"text/event-stream; charset=utf-8")
    asks = (b"x-accel-buffering", b"no")
    assert response_headers(Head(200, [kind])) == [kind, asks]
    assert response_headers(Head(200, [kind, (b"x-accel-buffering", b"yes")])) == [kind, asks]


@pytest.mark.parametrize(("sent", "hops"), [(None, 1), (b"0", 1), (b"1", 2), (b"003", 4)])
def test_each_router_counts_one_hop(sent: bytes | None, hops: int) -> None:
    headers = [(b"accept", b"9")] + ([] if sent is None else [(b"x-modelfleet-hops", sent)])
    assert next_hop(headers) == hops


@pytest.mark.parametrize("sent", [b"%d" % MAX_HOPS, b"99", b"0000", b"-1", b"x", b""])
def test_a_request_that_passed_too_many_routers_is_refused(sent: bytes) -> None:
    with pytest.raises(LoopDetected) as caught:
        next_hop([(b"x-modelfleet-hops", sent)])
    assert caught.value.status == 508


def test_hops_and_key_are_sent_where_they_are_given() -> None:
    endpoint = Endpoint("e", "10.0.0.1", 9, key="secret")
    for hops, expected in ((0, []), (1, [b"x-modelfleet-hops: 1"])):
        head = request_head([], b"/v1/x", endpoint, "r", 5, hops=hops).split(b"\r\n")
        assert [line for line in head if b"hops" in line] == expected
        assert b"authorization: Bearer secret" in head
    assert not any(b"authorization" in line for line in lines())
