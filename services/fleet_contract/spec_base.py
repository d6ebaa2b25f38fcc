"""Base class of ModelSpec and its parts: unknown fields are errors, camelCase on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class SpecPart(BaseModel):
    """Frozen; forbids unknown fields, accepts snake_case and camelCase, writes camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """The part as JSON types in camelCase, without fields at their default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
