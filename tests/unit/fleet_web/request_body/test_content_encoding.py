"""Compressed bodies, split into chunks of any size."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator

import pytest

from fleet_contract.errors import BadRequest
from fleet_web.request_body.content_encoding import (
    MAX_PARTS,
    STEP_BYTES,
    UnsupportedEncoding,
    decoder_of,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RAW = b'{"a":"' + b"hello" * 200_000 + b'"}'


def bare_deflate(raw: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(raw) + stream.flush()


ENCODED = {
    "gzip": gzip.compress(RAW),
    "x-gzip": gzip.compress(RAW[:9]) + gzip.compress(RAW[9:]),
    "deflate": zlib.compress(RAW),
    " Deflate ": bare_deflate(RAW),
    "zstd": zstd.compress(RAW),
    "identity, zstd": zstd.compress(RAW[:9]) + zstd.compress(RAW[9:]),
}


def decode(coding: str, data: bytes, size: int = 1000) -> Iterator[bytes]:
    decoder = decoder_of([(b"content-encoding", coding.encode())])
    assert decoder is not None
    for at in range(0, len(data), size):
        yield from decoder.steps(data[at : at + size])
    decoder.finish()


@pytest.mark.parametrize("coding", ENCODED)
@pytest.mark.parametrize("size", [1, 1000, 10**9])
def test_it_is_decoded_in_bounded_steps(coding: str, size: int) -> None:
    steps = list(decode(coding, ENCODED[coding], size))
    assert b"".join(steps) == RAW
    assert max(map(len, steps)) <= STEP_BYTES


@pytest.mark.parametrize("coding", ENCODED)
def test_incomplete_and_invalid_data_is_a_400(coding: str) -> None:
    for data in (ENCODED[coding][:-3], b"", b'{"a": 1}', ENCODED[coding] + b'{"a": 1}'):
        with pytest.raises(BadRequest, match="is not valid"):
            list(decode(coding, data))


def test_a_frame_with_a_huge_window_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log: 27}
    with pytest.raises(BadRequest):
        list(decode("zstd", zstd.ZstdCompressor(options=options).compress(b"x" * 2**20)))


@pytest.mark.parametrize(
    ("coding", "part"),
    [("gzip", gzip.compress(b"")), ("gzip", gzip.compress(b" ")), ("zstd", zstd.compress(b"")),
     ("zstd", b"\x50\x2a\x4d\x18" + bytes(4))],
    ids=["gzip", "gzip-space", "zstd", "zstd-skippable"],
)  # fmt: skip
@pytest.mark.parametrize("size", [7, 10**9])
def test_the_number_of_parts_is_bounded(coding: str, part: bytes, size: int) -> None:
    """Each takes far more time than a byte: 29,000 empty frames of zstd 2.7 s."""
    assert b"".join(decode(coding, part * MAX_PARTS, size)).strip() == b""
    with pytest.raises(BadRequest, match=f"more than {MAX_PARTS} parts"):
        list(decode(coding, part * (MAX_PARTS + 1), size))


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "compress", "gzip, br"])
def test_another_coding_is_a_415_that_names_it(coding: str) -> None:
    with pytest.raises(UnsupportedEncoding, match=coding) as caught:
        decoder_of([(b"content-encoding", coding.encode())])
    assert caught.value.status == 415


@pytest.mark.parametrize("coding", [b"", b"identity", b" , "])
def test_no_coding_needs_no_decoder(coding: bytes) -> None:
    assert decoder_of([(b"content-encoding", coding)]) is None
    assert decoder_of([(b"content-type", b"gzip")]) is None
