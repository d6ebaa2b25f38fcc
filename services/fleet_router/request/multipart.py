"""Finds the only `model` field of a multipart body; other fields are neither kept nor checked."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fleet_contract.errors import BadRequest
from fleet_router.request.fields import misspelled_model, second_model
from fleet_web.multipart import FormParser

MAX_FIELD_BYTES = 1024


class ModelFinder:
    """`feed` it the body in chunks, to the end; `done` is true once `model` has the whole field."""

    def __init__(self, content_type: str) -> None:
        """Raises BadRequest when the type is not multipart/form-data with a boundary."""
        self._parser = FormParser(content_type, self)
        self.boundary = self._parser.boundary
        self.model: str | None = None
        self.span = (0, 0)
        """Range of the field's bytes in the body; (0, 0) without the field."""
        self.done = False
        self._inside = self._found = False
        self._value = bytearray()

    def feed(self, data: bytes) -> None:
        """Parse the next chunk. Raises BadRequest when it is malformed, or the field is too long,
        appears again, or appears in another case."""
        self._parser.feed(data)

    def finish(self) -> None:
        """End of the body. Raises BadRequest when the last boundary is missing."""
        self._parser.finish()

    async def checked(self, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks of the rest of the body. Raises as `feed` and `finish`: a chunk with a second
        field is not passed on."""
        async for chunk in rest:
            self.feed(chunk)
            yield chunk
        self.finish()

    def begin(self, name: bytes | None) -> None:
        """Implements PartHandler."""
        self._inside = name is not None and name.lower() == b"model"
        if self._inside and self._found:
            raise second_model()
        if self._inside and name != b"model":
            raise misspelled_model(name.decode("latin-1") if name else "")
        self._found |= self._inside

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
