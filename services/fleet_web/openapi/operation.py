"""What a document says of one method of one path. `inference` and `housekeeping` say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

JSON = "application/json"
FORM = "multipart/form-data"
TEXT = "text/plain"
EVENTS = "text/event-stream"

Shape = Any
"""A type that pydantic has a JSON Schema of: a body of fleet_contract.api, a TypedDict, `str`."""

ANYWHERE = frozenset({400, 408, 431, 500})
"""Refusals that need no route: no HTTP, a head too slow or too long; and failures of ours."""


@dataclass(frozen=True, slots=True)
class Content:
    """A body in one media type; of events, `shape` is that of each one's data, but for the `mark`
    at the end."""

    media_type: str
    shape: Shape
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """`answers` is what a good answer may hold, `headers` the names of those it always has besides
    the request's id. `errors` are statuses of refusals, which all have one shape; `unready` is the
    shape of a probe's 503."""

    path: str
    method: Literal["get", "post"]
    tag: str
    summary: str
    description: str = ""
    parameters: tuple[str, ...] = ()
    body: Content | None = None
    answers: tuple[Content, ...] = ()
    headers: tuple[str, ...] = ()
    errors: frozenset[int] = ANYWHERE
    unready: Shape | None = None

    @property
    def name(self) -> str:
        """A name no other operation has, such as `post_v1_chat_completions`."""
        letters = [letter if letter.isalnum() else " " for letter in self.path]
        return "_".join([self.method, *"".join(letters).split()])
