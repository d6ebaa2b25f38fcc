"""Parses a multipart/form-data body incrementally (RFC 7578) and passes its parts to a handler.

Only the headers of the current part are kept in memory.
"""

from __future__ import annotations

import logging
import re
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fleet_contract.errors import BadRequest

# It logs a warning for every malformed body; the client gets a 400, which is enough.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_NAME = re.compile(rb"(?i);\s*+name\s*+([*0-9]*+)\s*+=")
"""Without backtracking, which would take time in proportion to the square of the spaces."""

MAX_PARTS = 1000
MAX_HEADER_BYTES = 64 * 1024
"""Of the headers of all parts; the parser bounds those of each part."""


class PartHandler(Protocol):
    """Receives the parts in order. Its exceptions end the parsing."""

    def begin(self, name: bytes | None) -> None:
        """A part begins; `name` is that of its field."""

    def data(self, chunk: memoryview, offset: int, /) -> None:
        """Some of its bytes, which begin `offset` bytes after the start of the body."""

    def end(self) -> None:
        """The part ends."""


class FormParser:
    """`feed` it the body in chunks, then call `finish`."""

    def __init__(self, content_type: str, handler: PartHandler) -> None:
        """Raises BadRequest when the type is not multipart/form-data with a boundary."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise BadRequest(
                "The body must be multipart/form-data with the fields 'file' and 'model'.",
                param="file",
                code="invalid_content_type",
            )
        self.boundary = boundary
        self._handler = handler
        self._fed = 0
        self._name = self._value = self._disposition = b""
        self._parts = self._header_bytes = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_part_end": handler.end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise malformed(error) from None

    def feed(self, data: bytes) -> None:
        """Parse the next chunk; bytes after the last boundary are ignored. Raises BadRequest when
        the body is malformed, and what the handler raises."""
        if not self._ended:
            try:
                self._parser.write(data)
            except FormParserError as error:
                raise malformed(error) from None
        self._fed += len(data)

    def finish(self) -> None:
        """End of the body. Raises BadRequest when the last boundary is missing."""
        if not self._ended:
            raise malformed("it ends before its last boundary")

    def _part_begin(self) -> None:
        self._name = self._value = self._disposition = b""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise malformed(f"it has more than {MAX_PARTS} parts")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._count_header(end - start)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count_header(end - start)

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise malformed(f"the headers of its parts exceed {MAX_HEADER_BYTES} bytes")

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            names = names_of(self._value)
            # Parsers differ in which of several names they take, and in whether they read `name*`,
            # which RFC 7578 section 4.2 forbids.
            if self._disposition or len(names) > 1 or b"*" in b"".join(names):
                raise malformed("a part has two names, or one in the form `name*=`")
            self._disposition = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._handler.begin(options.get(b"name"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._handler.data(memoryview(data)[start:end], self._fed + start)

    def _end(self) -> None:
        self._ended = True


def names_of(disposition: bytes) -> list[bytes]:
    """What follows `name` in each parameter of that name, b"" or such as b"*0*"."""
    found: list[bytes] = _NAME.findall(_QUOTED.sub(b"", disposition))
    return found


def malformed(error: object) -> BadRequest:
    """The error for a body that cannot be parsed."""
    return BadRequest(f"The body is not valid multipart/form-data: {error}.", code="invalid_form")
