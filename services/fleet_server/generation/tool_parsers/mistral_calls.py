"""Mistral's calls: `[{"name": ..., "arguments": ...}]`, since 2025 `name[ARGS]{...}`."""

from __future__ import annotations

import re

from fleet_server.generation.tool_parsers.call import Call, Schemas, call, parse_from
from fleet_server.generation.tool_parsers.json_calls import read_json

MARK = "[TOOL_CALLS]"
# Possessive: on a long run of spaces without an object, backtracking takes quadratic time.
HEAD = re.compile(
    r"\s*+(?:\[TOOL_CALLS\]\s*+)?([\w.-]++)\s*+(?:\[CALL_ID\]\w++)?(?:\[ARGS\])?\s*+(?=\{)"
)


def read_mistral(block: str, schemas: Schemas) -> list[Call] | None:
    """Calls in either form; in the newer one several follow each other, each with the mark."""
    if block.lstrip()[:1] in ("[", "{"):
        return read_json(block, schemas)
    calls: list[Call] = []
    place = 0
    while place < len(block.rstrip()):
        head = HEAD.match(block, place)
        found = parse_from(block, head.end()) if head else None
        if head is None or found is None:
            return None
        value, place = found
        known = call(head[1], value, schemas)
        if known is None:
            return None
        calls.append(known)
    return calls or None
