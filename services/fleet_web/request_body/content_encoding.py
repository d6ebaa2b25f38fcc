"""Decodes compressed request bodies (RFC 9110 section 8.4) in bounded steps."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import ClassVar, Protocol

from fleet_contract.errors import BadRequest, FleetError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STEP_BYTES = 256 * 1024
"""Decoded in one call."""
MAX_WINDOW_LOG = 23
"""Largest window of a zstd frame: 8 MiB, as RFC 9659 requires of HTTP."""

MAX_PARTS = 100
"""Members of gzip, or frames of zstd, in one body: each needs a new decoder and a copy of what
follows it. Encoders make one."""


class UnsupportedEncoding(FleetError):
    """The body has a content coding that is not supported."""

    status: ClassVar[int] = 415
    type = "invalid_request_error"
    default_code = "unsupported_content_encoding"


class ContentDecoder(Protocol):
    """Decodes one body."""

    def steps(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes of the next encoded ones, at most STEP_BYTES each. Raises
        BadRequest."""

    def finish(self) -> None:
        """End of the body. Raises BadRequest if it is incomplete."""


def decoder_of(headers: Iterable[tuple[bytes, bytes]]) -> ContentDecoder | None:
    """The decoder of a body, None if it is not encoded. Raises UnsupportedEncoding."""
    listed = b",".join(value for name, value in headers if name == b"content-encoding")
    if not listed:
        return None
    codings = [each.strip().lower() for each in listed.split(b",")]
    codings = [each for each in codings if each not in (b"", b"identity")]
    if not codings:
        return None
    if codings in ([b"gzip"], [b"x-gzip"]):
        return _Deflate("gzip", 31)
    if codings == [b"deflate"]:
        return _Deflate("deflate", 15)
    if codings == [b"zstd"]:
        return _Zstd()
    named = b", ".join(codings).decode("latin-1")[:100]
    raise UnsupportedEncoding(
        f"The content encoding {named!r} is not supported; send the body as it is, or encoded once"
        " with gzip, deflate or zstd."
    )


class _Deflate:
    """`window` is zlib's: 31 for gzip, 15 for the zlib format."""

    def __init__(self, name: str, window: int) -> None:
        self._name, self._window = name, window
        self._object = zlib.decompressobj(window)
        self._parts = _Parts(name)
        self._started = False

    def steps(self, data: bytes) -> Iterator[bytes]:
        if not self._started and data:
            self._started = True
            if self._window == 15 and data[0] & 0x0F != 8:
                self._object = zlib.decompressobj(-15)  # some clients send no zlib header
        while data:
            if self._object.eof:
                if self._window != 31:
                    raise _invalid(self._name, "there is data after its end")
                self._parts.next()
                self._object = zlib.decompressobj(31)  # gzip may have several members
            try:
                decoded = self._object.decompress(data, STEP_BYTES)
            except zlib.error as error:
                raise _invalid(self._name, error) from None
            data = self._object.unconsumed_tail or self._object.unused_data
            if decoded:
                yield decoded

    def finish(self) -> None:
        if not self._object.eof:
            raise _invalid(self._name, "it is incomplete")


class _Zstd:
    def __init__(self) -> None:
        self._object = self._new()
        self._parts = _Parts("zstd")

    @staticmethod
    def _new() -> zstd.ZstdDecompressor:
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
        return zstd.ZstdDecompressor(options=options)

    def steps(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._object.needs_input or self._object.eof):
            if self._object.eof:
                self._parts.next()
                self._object = self._new()  # frames may follow one another
            try:
                decoded = self._object.decompress(data, STEP_BYTES)
            except zstd.ZstdError as error:
                raise _invalid("zstd", error) from None
            data = self._object.unused_data if self._object.eof else b""
            if decoded:
                yield decoded

    def finish(self) -> None:
        if not self._object.eof:
            raise _invalid("zstd", "it is incomplete")


class _Parts:
    """Counts the parts of a body; the first is there from the start."""

    def __init__(self, name: str) -> None:
        self._name, self._count = name, 1

    def next(self) -> None:
        """Raises BadRequest beyond MAX_PARTS."""
        self._count += 1
        if self._count > MAX_PARTS:
            raise BadRequest(
                f"The body has more than {MAX_PARTS} parts encoded with {self._name}; encode it as"
                " a whole.",
                code="invalid_encoding",
            )


def _invalid(name: str, reason: object) -> BadRequest:
    return BadRequest(
        f"The body is not valid {name}, its content-encoding: {reason}.",
        code="invalid_encoding",
    )
