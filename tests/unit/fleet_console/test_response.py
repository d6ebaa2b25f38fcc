"""Headers of the page's files, compression and revalidation."""

from __future__ import annotations

import gzip

import pytest

from fleet_console.files import make
from fleet_console.response import POLICY, accepts_gzip, matches, page_response

FILE = make(b"<!doctype html>" * 20, "text/html; charset=utf-8")


def test_the_policy_allows_no_inline_code_and_no_other_host() -> None:
    allowed = {part.split()[0]: part.split()[1:] for part in POLICY.split("; ")}
    assert allowed["default-src"] == ["'none'"]
    for name in ("script-src", "style-src", "connect-src"):
        assert allowed[name] == ["'self'"]
    assert allowed["frame-ancestors"] == allowed["base-uri"] == allowed["form-action"] == ["'none'"]
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_a_plain_and_a_compressed_response() -> None:
    plain = page_response(FILE, {})
    assert (plain.status_code, plain.body) == (200, FILE.content)
    assert "content-encoding" not in plain.headers
    compressed = page_response(FILE, {"accept-encoding": "br, gzip"})
    assert gzip.decompress(bytes(compressed.body)) == FILE.content
    assert compressed.headers["content-encoding"] == "gzip"
    for response in (plain, compressed):
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["content-security-policy"] == POLICY
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["vary"] == "accept-encoding"
        assert response.headers["content-length"] == str(len(response.body))
    assert plain.headers["etag"] != compressed.headers["etag"]


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_client_that_has_the_file_gets_no_body(encoding: str) -> None:
    tag = page_response(FILE, {"accept-encoding": encoding}).headers["etag"]
    response = page_response(FILE, {"accept-encoding": encoding, "if-none-match": f'"a", {tag}'})
    assert (response.status_code, response.body) == (304, b"")
    assert response.headers["etag"] == tag
    assert response.headers["content-security-policy"] == POLICY
    other = page_response(FILE, {"accept-encoding": encoding, "if-none-match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [("", False), ("gzip", True), ("br;q=1, GZIP;q=0.5", True), ("gzip;q=0", False),
     ("gzip; q=0.0, br", False), ("gzip;q=0.01", True), ("identity", False)],
)  # fmt: skip
def test_what_an_accept_encoding_allows(accepted: str, expected: bool) -> None:
    assert accepts_gzip(accepted) is expected


@pytest.mark.parametrize(
    ("listed", "expected"),
    [("", False), ("*", True), ('W/"a"', True), ('"b", "a"', True), ('"ab"', False)],
)
def test_which_tags_match(listed: str, expected: bool) -> None:
    assert matches(listed, '"a"') is expected
