"""Request lines and headers that no client should send, and paths that are none of ours."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from integration.fuzz import bodies, wire

TARGETS = ("server", "router")
BODY = bodies.encoded(bodies.CHAT | {"stream": False, "stream_options": None}, True)
SIZE = str(len(BODY)).encode()
junk = st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b""))

lines = st.one_of(
    st.sampled_from(
        (
            b"content-length: -1", b"content-length: 1e3", b"content-length: 0x10",
            b"content-length: " + b"9" * 40, b"content-length: 5, 5", b"content-length:",
            b"content-length: " + SIZE, b"content-length: +" + SIZE, b"content-length: 3",
            b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked",
            b"transfer-encoding: xchunked", b"transfer-encoding: chunked, identity",
            b"content-type: text/plain", b"content-type: application/json; charset=utf-16",
            b"content-type: multipart/form-data; boundary=x", b"content-type: \xff\xfe",
            b"content-encoding: gzip", b"expect: 100-continue", b"expect: 200-ok",
            b"upgrade: websocket\r\nconnection: upgrade", b"upgrade: h2c", b"host: a\r\nhost: b",
            b"x-request-id: " + b"a" * 5000, b"x-request-id: \xff", b"x-request-id: a\tb",
            b"traceparent: 00-zz-00-01", b"accept: " + b"x" * 70_000, b"no colon", b": no name",
            b"spaced name: x", b" folded", b"authorization: Bearer \xff", b"origin: null",
            b"\r\n".join(b"x-%d: y" % n for n in range(300)), b"retry-after: -1", b"te: trailers",
            b"x-modelfleet-endpoint: mine", b"range: bytes=0-1", b"content-length: 1\x00",
        )
    ),
    junk,
)  # fmt: skip
methods = st.sampled_from((b"POST", b"GET", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE",
                           b"post", b"PO ST", b"\xff", b"CONNECT"))  # fmt: skip
targets = st.one_of(
    st.sampled_from(
        (
            b"/v1/chat/completions", b"/v1/chat/completions/", b"//v1/chat/completions", b"/",
            b"*", b"", b"/%00", b"/%ff", b"/..%2f..", b"/v1/models", b"/v1/models/%ff%fe",
            b"/v1/models/a%0d%0ab", b"/v1/models/" + b"m" * 5000, b"http://x/v1/models", b"/health",
            b"/livez", b"/readyz", b"/docs", b"/openapi.json", b"/v1/embeddings?x=%zz&\xff",
            b"/tokenize", b"/v1/audio/transcriptions", b"/" + b"a" * 70_000, b"/\xc3\xa9",
        )
    ),
    junk.map(lambda raw: b"/" + raw.replace(b" ", b"")),
)  # fmt: skip

REFUSALS = wire.REFUSALS | {403}
"""Also of requests with the Host or Origin of another site."""


def told(answer: wire.Answer | None) -> None:
    """A connection that is closed without a word is an answer to what is no HTTP."""
    if answer is not None and answer.status != 200 and answer.body:
        wire.judge(answer, REFUSALS)
    assert answer is None or answer.status in REFUSALS | {200, 204}, answer


@pytest.mark.parametrize("target", TARGETS)
def test_odd_headers(fuzzed: Any, settings: Any, target: str) -> None:
    @settings
    @given(added=st.lists(lines, min_size=1, max_size=3), with_length=st.booleans())
    def holds(added: list[bytes], with_length: bool) -> None:
        usual = [b"host: localhost", b"connection: close", b"content-type: application/json"]
        usual += [b"content-length: " + SIZE] if with_length else []
        raw = b"\r\n".join([b"POST /v1/chat/completions HTTP/1.1", *usual, *added, b"", BODY])
        told(fuzzed.send(fuzzed.port(target, "chat"), raw))

    holds()


@pytest.mark.parametrize("target", TARGETS)
def test_odd_requests(fuzzed: Any, settings: Any, target: str) -> None:
    @settings
    @given(
        method=methods, path=targets,
        version=st.sampled_from((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"", b"X")),
        with_body=st.booleans(),
    )  # fmt: skip
    @example(method=b"POST", path=b"/v1/models/", version=b"HTTP/1.1", with_body=False)
    @example(method=b"POST", path=b"/rerank/", version=b"HTTP/1.1", with_body=False)
    @example(method=b"POST", path=b"/v1/chat/completions/", version=b"HTTP/1.1", with_body=True)
    def holds(method: bytes, path: bytes, version: bytes, with_body: bool) -> None:
        head = b"%b %b %b\r\nhost: localhost\r\nconnection: close\r\n" % (method, path, version)
        head += b"content-type: application/json\r\n"
        body = BODY if with_body else b""
        raw = head + b"content-length: %d\r\n\r\n" % len(body) + body
        try:
            told(fuzzed.send(fuzzed.port(target, "chat"), raw))
        except http.client.BadStatusLine:
            raise AssertionError("an answer that is no HTTP") from None

    holds()


@pytest.mark.parametrize("target", TARGETS)
def test_odd_chunks(fuzzed: Any, settings: Any, target: str) -> None:
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    whole = b"%x\r\n%b\r\n" % (len(BODY), BODY)

    @settings
    @given(
        pieces=st.lists(
            st.one_of(
                st.just(whole), junk,
                st.sampled_from(
                    (b"0\r\n\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5;a=b\r\nhello\r\n",
                     b"0\r\nx-trailer: y\r\n\r\n", b"zz\r\n", b"1\r\n{}\r\n", b"3\r\n{")
                ),
            ),
            min_size=1, max_size=4,
        )
    )  # fmt: skip
    def holds(pieces: list[bytes]) -> None:
        told(fuzzed.send(fuzzed.port(target, "chat"), head + b"".join(pieces)))

    holds()
