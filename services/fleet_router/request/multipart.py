"""Finds the `model` field in a multipart body as it streams by. Fed by `envelope`.

Nothing else of the body is kept or judged; the model server reads it again.
"""

from __future__ import annotations

from fleet_contract.errors import BadRequest
from fleet_web.multipart import FormParser

MAX_FIELD_BYTES = 1024


class ModelFinder:
    """`feed` it the body; `done` turns true once the field was read whole, in `model`."""

    def __init__(self, content_type: str) -> None:
        """Raises BadRequest when the type is not multipart/form-data with a boundary."""
        self._parser = FormParser(content_type, self)
        self.boundary = self._parser.boundary
        self.model: str | None = None
        self.span = (0, 0)
        """Where in the body the bytes of `model` lie; (0, 0) without one."""
        self.done = False
        self._inside = False
        self._value = bytearray()

    def feed(self, data: bytes) -> None:
        """Read on. Raises BadRequest when this is not multipart or the field is too long."""
        self._parser.feed(data)

    def finish(self) -> None:
        """The body has ended. Raises BadRequest when it ended before its last boundary."""
        self._parser.finish()

    def begin(self, name: bytes | None) -> None:
        """For the parser."""
        self._inside = not self.done and name == b"model"
        self._value.clear()

    def data(self, piece: memoryview, at: int) -> None:
        """For the parser."""
        if self._inside:
            if not self._value:
                self.span = (at, at)
            self._value += piece
            if len(self._value) > MAX_FIELD_BYTES:
                raise BadRequest(
                    f"The field 'model' is longer than {MAX_FIELD_BYTES} bytes.", param="model"
                )

    def end(self) -> None:
        """For the parser."""
        if self._inside:
            self._inside = False
            try:
                self.model = self._value.decode()
            except UnicodeDecodeError:
                raise BadRequest("The field 'model' is not UTF-8.", param="model") from None
            self.span = (self.span[0], self.span[0] + len(self._value))
            self.done = True
