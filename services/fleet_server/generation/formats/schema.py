"""Checks the size of a JSON Schema and narrows it before an engine compiles it.

The bounds keep the compiler's recursion within its stack: a chain of 3,000 references overflowed
one of 8 MiB.
"""

from __future__ import annotations

import json
from typing import Any

from fleet_contract.errors import BadRequest
from fleet_server.engines.guided.schema_walk import Schema, rewritten

MAX_CHARS = 200_000
MAX_NODES = 2000
"""Objects and lists within a schema."""
MAX_DEPTH = 64
COMPILER_OPTIONS = "x-guidance"
"""A keyword with which a schema would change options of llguidance."""
COMBINING = frozenset({"allOf", "patternProperties", "unevaluatedProperties", "$dynamicRef"})
"""Keywords with which an object may have properties that another part of the schema declares."""


def narrowed(schema: Any, param: str) -> str:
    """The schema as JSON, narrowed where a small model might otherwise not stop: an object that
    declares its properties has no others, unless the schema allows them or combines schemas.

    Raises BadRequest for a schema beyond the bounds.
    """
    combines = check_size(schema, param)
    change = _open if combines else _closed
    text = json.dumps(rewritten(schema, change), ensure_ascii=False)
    if len(text) > MAX_CHARS:
        raise BadRequest(
            f"The schema has {len(text)} characters; at most {MAX_CHARS} are accepted.",
            param=param,
        )
    return text


def check_size(schema: Any, param: str) -> bool:
    """Whether the schema has combining keywords. Raises BadRequest beyond the bounds."""
    nodes, combines = 0, False
    waiting: list[tuple[Any, int]] = [(schema, 0)]
    while waiting:
        node, depth = waiting.pop()
        if not isinstance(node, dict | list):
            continue
        nodes += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise BadRequest(
                f"The schema has more than {MAX_NODES} parts or {MAX_DEPTH} levels.", param=param
            )
        if isinstance(node, dict):
            combines = combines or not COMBINING.isdisjoint(node)
        inner = node.values() if isinstance(node, dict) else node
        waiting.extend((each, depth + 1) for each in inner)
    return combines


def _open(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != COMPILER_OPTIONS}


def _closed(schema: Schema) -> Schema:
    written = _open(schema)
    if _declares_all(written):
        written.setdefault("additionalProperties", False)
    return written


def _declares_all(schema: Schema) -> bool:
    """Whether the schema declares properties, and all that it requires."""
    properties, required = schema.get("properties"), schema.get("required", [])
    return (
        isinstance(properties, dict)
        and isinstance(required, list)
        and all(isinstance(name, str) and name in properties for name in required)
    )
