"""What a document contains of one method of one path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fleet_contract.api.base import ErrorBody

JSON = "application/json"
FORM = "multipart/form-data"
TEXT = "text/plain"
EVENTS = "text/event-stream"

Shape = Any
"""A type that pydantic has a JSON Schema of: a body of fleet_contract.api, a TypedDict, `str`."""

COMMON_ERRORS = frozenset({400, 408, 431, 500})
"""Possible on every path: invalid HTTP, a head that is too slow or too long, internal errors."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """A body in one media type. In an event stream `shape` is that of each event's data, except
    for the `terminator` at the end."""

    media_type: str
    shape: Shape
    terminator: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """`responses` are the alternatives of a 200, `headers` what each of them has besides the
    request id, `some_headers` what it may have. `errors` are the statuses of errors, whose shape is
    `error`; `not_ready` is the shape of a probe's 503."""

    path: str
    method: Literal["get", "post"]
    tag: str
    summary: str
    description: str = ""
    parameters: tuple[str, ...] = ()
    body: MediaType | None = None
    responses: tuple[MediaType, ...] = ()
    headers: tuple[str, ...] = ()
    some_headers: tuple[str, ...] = ()
    errors: frozenset[int] = COMMON_ERRORS
    error: Shape = ErrorBody
    not_ready: Shape | None = None

    def error_name(self, status: int) -> str:
        """The name of the response to an error in the document's components."""
        return f"{self.error.__name__.removesuffix('Body')}{status}"

    @property
    def name(self) -> str:
        """A unique id, such as `post_v1_chat_completions`."""
        letters = [letter if letter.isalnum() else " " for letter in self.path]
        return "_".join([self.method, *"".join(letters).split()])
