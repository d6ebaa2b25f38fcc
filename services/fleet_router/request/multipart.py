"""Finds the `model` field of a multipart body; other fields are neither kept nor checked."""

from __future__ import annotations

from fleet_contract.errors import BadRequest
from fleet_web.multipart import FormParser

MAX_FIELD_BYTES = 1024


class ModelFinder:
    """`feed` it the body in chunks; `done` is true once `model` has the whole field."""

    def __init__(self, content_type: str) -> None:
        """Raises BadRequest when the type is not multipart/form-data with a boundary."""
        self._parser = FormParser(content_type, self)
        self.boundary = self._parser.boundary
        self.model: str | None = None
        self.span = (0, 0)
        """Range of the field's bytes in the body; (0, 0) without the field."""
        self.done = False
        self._inside = False
        self._value = bytearray()

    def feed(self, data: bytes) -> None:
        """Parse the next chunk. Raises BadRequest when it is malformed or the field is too long."""
        self._parser.feed(data)

    def finish(self) -> None:
        """End of the body. Raises BadRequest when the last boundary is missing."""
        self._parser.finish()

    def begin(self, name: bytes | None) -> None:
        """Implements PartHandler."""
        self._inside = not self.done and name == b"model"
        self._value.clear()

    def data(self, chunk: memoryview, offset: int, /) -> None:
        """Implements PartHandler."""
        if self._inside:
            if not self._value:
                self.span = (offset, offset)
            self._value += chunk
            if len(self._value) > MAX_FIELD_BYTES:
                raise BadRequest(
                    f"The field 'model' is longer than {MAX_FIELD_BYTES} bytes.", param="model"
                )

    def end(self) -> None:
        """Implements PartHandler."""
        if self._inside:
            self._inside = False
            try:
                self.model = self._value.decode()
            except UnicodeDecodeError:
                raise BadRequest("The field 'model' is not UTF-8.", param="model") from None
            self.span = (self.span[0], self.span[0] + len(self._value))
            self.done = True
