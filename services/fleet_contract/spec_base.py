"""The base of every part of ModelSpec: strict about names, camelCase on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class SpecPart(BaseModel):
    """Frozen, refuses unknown fields, reads both spellings and writes camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """The part as plain JSON types, camelCase, without what was left at its default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
