"""Parts of a form, however the body is split; malformed bodies are not logged."""

from __future__ import annotations

import logging

import pytest

from fleet_contract.errors import BadRequest
from fleet_web.multipart import FormParser, names_of

TYPE = "multipart/form-data; boundary=q"
BODY = (
    b'--q\r\nContent-Disposition: form-data; name="a"\r\nX-Other: 1\r\n\r\nfirst\r\n'
    b"--q\r\nX-Other: 1\r\n\r\n\r\n"
    b"--q\r\ncontent-disposition: form-data; name=b\r\n\r\n\r\n--not\r\n\r\n--q--\r\n"
)


class Parts:
    """Names, bytes and their offsets."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes | None, bytes]] = []
        self.spans: list[tuple[int, bytes]] = []
        self.ended = 0

    def begin(self, name: bytes | None) -> None:
        self.seen.append((name, b""))

    def data(self, piece: memoryview, at: int) -> None:
        name, value = self.seen[-1]
        self.seen[-1] = (name, value + piece)
        self.spans.append((at, bytes(piece)))

    def end(self) -> None:
        self.ended += 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_parts_are_complete_and_have_their_offsets(size: int) -> None:
    parts = Parts()
    parser = FormParser(TYPE, parts)
    for start in range(0, len(BODY), size):
        parser.feed(BODY[start : start + size])
    parser.finish()
    assert parts.seen == [(b"a", b"first"), (None, b""), (b"b", b"\r\n--not\r\n")]
    assert parts.ended == 3
    first = [(at, piece) for at, piece in parts.spans if piece in b"first" and at < 80]
    assert b"".join(piece for _, piece in first) == b"first"
    assert all(BODY[at : at + len(piece)] == piece for at, piece in first)


def test_data_after_the_end_is_ignored_and_a_missing_end_is_refused() -> None:
    parser = FormParser(TYPE, Parts())
    parser.feed(BODY)
    parser.feed(b"--q\r\nwhat is this")
    parser.finish()
    short = FormParser(TYPE, Parts())
    short.feed(BODY[:-6])
    with pytest.raises(BadRequest, match="last boundary"):
        short.finish()


@pytest.mark.parametrize(
    "body", [b"{}", b"--x\r\n", b"--q\r\nno colon\r\n\r\nx", b"--q\r\n: none\r\n\r\nx"]
)
def test_malformed_bodies_are_reported_to_the_client_and_not_logged(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(BadRequest) as caught:
        FormParser(TYPE, Parts()).feed(body)
    assert caught.value.code == "invalid_form"
    assert caplog.records == []


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"--q\r\n", b"x" * 1000),
        (b"--q\r\nx: ", b"x" * 1000),
        (b"--q\r\n", b"x: y\r\n" * 100),
        (b"", b"--q\r\n\r\n\r\n" * 10),
    ],
    ids=["name", "value", "headers", "parts"],
)
def test_headers_and_the_number_of_parts_are_bounded(start: bytes, piece: bytes) -> None:
    parser = FormParser(TYPE, Parts())
    parser.feed(start)

    def feed() -> None:
        for _ in range(200):
            parser.feed(piece)

    with pytest.raises(BadRequest, match=r"[Hh]eader|more than 1000 parts"):
        feed()


def test_all_headers_together_are_bounded() -> None:
    """The parser bounds those of each part, of which there may be many."""
    parser = FormParser(TYPE, Parts())
    piece = b"--q\r\nx: " + b"y" * 4000 + b"\r\n\r\n\r\n"
    parser.feed(piece * 10)
    with pytest.raises(BadRequest, match="headers of its parts"):
        parser.feed(piece * 30)


def test_spaces_after_a_name_are_scanned_once() -> None:
    """With backtracking, a megabyte takes half an hour."""
    assert names_of(b"form-data; name" + b" " * 1_000_000 + b"x") == []
    assert names_of(b'form-data ; NAME = a; filename="; name=b"; name*0*=c') == [b"", b"*0*"]
