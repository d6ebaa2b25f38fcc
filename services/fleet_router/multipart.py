"""Finds the `model` field in a multipart body as it streams by. Fed by `envelope`.

Format: RFC 7578. Nothing else of the body is kept or judged; the model server reads it again.
"""

from __future__ import annotations

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from fleet_contract.errors import BadRequest

MAX_FIELD_BYTES = 1024


class ModelFinder:
    """`feed` it the body; `done` turns true once the field was read whole, in `model`."""

    def __init__(self, content_type: str) -> None:
        """Raises BadRequest when the type is not multipart/form-data with a boundary."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise BadRequest(
                "The body must be multipart/form-data with the fields 'file' and 'model'.",
                code="invalid_content_type",
            )
        self.boundary = boundary
        self.model: str | None = None
        self.span = (0, 0)
        """Where in the body the bytes of `model` lie; (0, 0) without one."""
        self.done = False
        self._fed = 0
        self._name = b""
        self._header = b""
        self._disposition = b""
        self._value = b""
        self._inside = False
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _malformed(error) from None

    def feed(self, data: bytes) -> None:
        """Read on. Raises BadRequest when this is not multipart or the field is too long."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed(error) from None
        self._fed += len(data)

    def finish(self) -> None:
        """The body has ended. Raises BadRequest when it ended before its last boundary."""
        if not self._ended:
            raise _malformed("it ends before its last boundary")

    def _part_begin(self) -> None:
        self._header = self._name = self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._header
        self._name = self._header = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._inside = not self.done and options.get(b"name") == b"model"
        self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            if not self._value:
                self.span = (self._fed + start, self._fed + start)
            self._value += data[start:end]
            if len(self._value) > MAX_FIELD_BYTES:
                raise BadRequest(
                    f"The field 'model' is longer than {MAX_FIELD_BYTES} bytes.", param="model"
                )

    def _part_end(self) -> None:
        if self._inside:
            self._inside = False
            try:
                self.model = self._value.decode()
            except UnicodeDecodeError:
                raise BadRequest("The field 'model' is not UTF-8.", param="model") from None
            self.span = (self.span[0], self.span[0] + len(self._value))
            self.done = True

    def _end(self) -> None:
        self._ended = True


def _malformed(error: object) -> BadRequest:
    return BadRequest(f"The body is not valid multipart/form-data: {error}.", code="invalid_form")
