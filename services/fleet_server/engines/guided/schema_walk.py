"""Rewrites a JSON Schema without touching the values within it that are not schemas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LITERAL = frozenset({"const", "enum", "default", "examples", "example"})
"""Keywords whose values are not schemas."""
MAPS = frozenset({
    "properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies",
})  # fmt: skip
"""Keywords whose values are objects of schemas."""

Schema = dict[str, Any]
Change = Callable[[Schema], Schema]


def rewritten(schema: Any, change: Change) -> Any:
    """The schema with `change` applied to each schema within it, inner ones first."""
    if isinstance(schema, list):
        return [rewritten(each, change) for each in schema]
    if not isinstance(schema, dict):
        return schema
    written: Schema = {}
    for key, value in schema.items():
        if key in MAPS and isinstance(value, dict):
            written[key] = {name: rewritten(each, change) for name, each in value.items()}
        else:
            written[key] = value if key in LITERAL else rewritten(value, change)
    return change(written)
