"""Shapes that all routes share: the base of request bodies, usage, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

LARGEST = 2**53 - 1
"""The largest integer that is exact in every JSON implementation (RFC 8259 section 6)."""

NO_OP_DESCRIPTION = "Accepted only with its no-op value; other engines may support it."

Positive = Annotated[int, Field(ge=1, le=LARGEST)]


def add_no_ops(schema: dict[str, Any], no_ops: Mapping[str, Sequence[Any]]) -> None:
    """Add the parameters of `no_ops`, with the values that have no effect, to a body's schema."""
    for name, values in no_ops.items():
        schema["properties"][name] = _no_op(values)


def _no_op(values: Sequence[Any]) -> dict[str, Any]:
    """The schema of a parameter that is accepted only with `values`, which have no effect. In
    objects, null members and an `effort` of `none` have none either."""
    objects = [value for value in values if isinstance(value, dict)]
    if not objects:
        return {"description": NO_OP_DESCRIPTION, "enum": list(values)}
    members = {"effort": {"enum": [None, "none"]}}
    for each in objects:
        members |= {key: {"enum": [None, value]} for key, value in each.items()}
    scalars = [value for value in values if not isinstance(value, dict)]
    form = {"type": "object", "properties": members, "additionalProperties": {"type": "null"}}
    return {"description": NO_OP_DESCRIPTION, "anyOf": [{"enum": scalars}, form]}


class JsonBody(BaseModel):
    """A JSON request body. Values are not coerced; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", use_attribute_docstrings=True)


def one_of(first: str, second: str) -> list[dict[str, Any]]:
    """JSON Schemas for `oneOf`: exactly one of two fields is present and not null."""
    nothing = {"type": "null"}
    return [
        {"required": [name], "properties": {name: {"not": nothing}, other: nothing}}
        for name, other in ((first, second), (second, first))
    ]


class Usage(TypedDict):
    """Tokens used by a request."""

    prompt_tokens: int
    total_tokens: int


class Error(TypedDict):
    """What went wrong. `param` names the field at fault, `code` is machine-readable."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """The body of every error response."""

    error: Error
