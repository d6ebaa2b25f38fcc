"""Reads a multipart/form-data body incrementally: fields in memory, the recording spooled.

Memory is bounded: the fields, their number and the recording have limits, and a recording of more
than a mebibyte goes to a temporary file.
"""

from __future__ import annotations

from types import TracebackType
from typing import IO, Self

from fastapi import Request

from fleet_contract.api.speech import FILE_FIELD, LISTS, SINGLE, field_name
from fleet_contract.errors import BadRequest, TooLarge
from fleet_server.audio.scratch import Scratch, ScratchFile
from fleet_web.body import chunks
from fleet_web.multipart import FormParser, malformed

FORM_BYTES = 1024 * 1024
"""Maximum number of bytes of a body besides the recording: boundaries, part headers, fields."""
MAX_FIELD_BYTES = 64 * 1024
MAX_PARTS = 64
SPOOL_BYTES = 1024 * 1024
"""Bytes of a recording kept in memory."""


class Form:
    """The fields of a form and its recording; a context manager that closes the file."""

    def __init__(self, scratch: Scratch, caller: str = "") -> None:
        self.scratch = scratch
        self.caller = caller
        self.fields: list[tuple[str, str]] = []
        self.file: IO[bytes] | None = None
        self.file_bytes = 0

    def __enter__(self) -> Self:
        return self

    def take(self) -> IO[bytes]:
        """The recording, to be closed by the caller. Raises ValueError if there is none."""
        if self.file is None:
            raise ValueError("the form has no recording")
        file, self.file = self.file, None
        return file

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.file is not None:
            self.file.close()


async def read_form(request: Request, form: Form, max_file_bytes: int) -> None:
    """Fill `form` from the body.

    Raises BadRequest if it is not a form, TooLarge beyond `max_file_bytes` (with Content-Length
    before anything is read), QueueFull without scratch space for the recording, and what
    `fleet_web.body.chunks` raises.
    """
    reader = FormReader(request.headers.get("content-type", ""), form, max_file_bytes)
    async for chunk in chunks(request, max_file_bytes + FORM_BYTES):
        reader.feed(chunk)
    reader.finish()


class FormReader:
    """Fills `form` from a body: `feed` its chunks, then call `finish`."""

    def __init__(self, content_type: str, form: Form, max_file_bytes: int) -> None:
        """Raises BadRequest if the type is not multipart/form-data with a boundary."""
        self._parser = FormParser(content_type, self)
        self._form = form
        self._max_file_bytes = max_file_bytes
        self._parts = 0
        self._field = ""
        self._value = bytearray()

    def feed(self, data: bytes) -> None:
        """Parse the next chunk. Raises BadRequest and TooLarge."""
        self._parser.feed(data)

    def finish(self) -> None:
        """End the body. Raises BadRequest if its last boundary is missing."""
        self._parser.finish()
        if self._form.file is not None:
            self._form.file.seek(0)

    def begin(self, name: bytes | None) -> None:
        """FormParser's callback for the beginning of a part."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadRequest(f"The form has more than {MAX_PARTS} parts.", code="invalid_form")
        if name is None:
            raise malformed("a part has no name")
        self._field = name.decode("utf-8", "replace")
        self._value.clear()
        if field_name(self._field) == FILE_FIELD:
            self._field = FILE_FIELD
            if self._form.file is not None:
                raise BadRequest("'file' is given more than once.", param=FILE_FIELD)
            self._form.file = ScratchFile(self._form.scratch, SPOOL_BYTES, self._form.caller)

    def data(self, piece: memoryview, at: int) -> None:
        """FormParser's callback for data of a part."""
        form = self._form
        if self._field == FILE_FIELD and form.file is not None:
            form.file_bytes += len(piece)
            if form.file_bytes > self._max_file_bytes:
                raise TooLarge(
                    f"The recording has more than {self._max_file_bytes} bytes, the most that is "
                    f"accepted.",
                    param=FILE_FIELD,
                )
            form.file.write(piece)
            return
        if len(self._value) + len(piece) > MAX_FIELD_BYTES:
            raise self._unfit(f"is longer than {MAX_FIELD_BYTES} bytes")
        self._value += piece

    def end(self) -> None:
        """FormParser's callback for the end of a part."""
        if self._field == FILE_FIELD:
            return
        try:
            self._form.fields.append((self._field, self._value.decode()))
        except UnicodeDecodeError:
            raise self._unfit("is not UTF-8 text") from None
        self._value.clear()

    def _unfit(self, reason: str) -> BadRequest:
        name = self._field[:100]
        hint = ""
        if field_name(self._field) not in SINGLE | LISTS:
            hint = f" A recording must be sent in the field {FILE_FIELD!r}."
        return BadRequest(f"The form field {name!r} {reason}.{hint}", param=name or None)
