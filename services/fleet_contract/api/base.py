"""What the shapes of all tasks share: how bodies are read, usage, the one shape of errors."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

LARGEST = 2**53 - 1
"""The largest whole number that every reader of JSON keeps as it is (RFC 8259 section 6)."""

Positive = Annotated[int, Field(ge=1, le=LARGEST)]


class Body(BaseModel):
    """A request's JSON object. Nothing is coerced; fields nobody knows are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", use_attribute_docstrings=True)


def one_of(first: str, second: str) -> list[dict[str, Any]]:
    """JSON Schemas the first of which holds where one field is given and the other is not, the
    second the other way round; null gives nothing."""
    nothing = {"type": "null"}
    return [
        {"required": [name], "properties": {name: {"not": nothing}, other: nothing}}
        for name, other in ((first, second), (second, first))
    ]


class Usage(TypedDict):
    """Tokens that a request took."""

    prompt_tokens: int
    total_tokens: int


class Error(TypedDict):
    """What went wrong. `param` names the field at fault, `code` is for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """The one shape of errors, whatever the route."""

    error: Error
