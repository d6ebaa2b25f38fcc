"""`propertyNames` as `patternProperties`, which llguidance has.

Pydantic writes it for dictionaries whose keys are enumerations or constrained texts, zod for all
records.
"""

from __future__ import annotations

import re
from typing import Any

from fleet_server.engines.guided.json_pointer import resolve
from fleet_server.engines.guided.schema_walk import Schema

SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$#&\-~/]")
"""Letters that have a meaning in a regular expression."""
ANNOTATIONS = frozenset({"title", "description", "default", "examples", "$comment"})
MAX_REFERENCES = 16


def with_patterns(schema: Schema, root: Schema) -> Schema:
    """The schema with the names of its properties as patterns, unchanged if they are of another
    kind; `root` is what its references refer to."""
    found = dict(schema)
    names = _resolved(found.get("propertyNames"), root)
    if not isinstance(names, dict) or "patternProperties" in found:
        return found
    rest = {key: value for key, value in names.items() if key not in ANNOTATIONS}
    if rest.get("type", "string") != "string":
        return found
    rest.pop("type", None)
    pattern = _pattern(rest)
    if rest and pattern is None:
        return found
    del found["propertyNames"]
    if pattern is not None:
        found["patternProperties"] = {pattern: found.get("additionalProperties", True)}
        found["additionalProperties"] = False
    return found


def _pattern(names: Schema) -> str | None:
    """The pattern of all names; None for keywords that have none."""
    match sorted(names):
        case ["pattern"] if isinstance(names["pattern"], str):
            return str(names["pattern"])
        case ["const"] if isinstance(names["const"], str):
            return f"^{_escaped(names['const'])}$"
        case ["enum"] if isinstance(names["enum"], list) and names["enum"]:
            if all(isinstance(each, str) for each in names["enum"]):
                return f"^({'|'.join(_escaped(each) for each in names['enum'])})$"
        case ["maxLength"] | ["minLength"] | ["maxLength", "minLength"]:
            least, most = names.get("minLength", 0), names.get("maxLength", "")
            if isinstance(least, int) and isinstance(most, int | str):
                return f"^[\\s\\S]{{{least},{most}}}$"
    return None


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\g<0>", text)


def _resolved(schema: Any, root: Schema) -> Any:
    """The schema that a chain of references within `root` leads to."""
    for _ in range(MAX_REFERENCES):
        if not isinstance(schema, dict) or schema.keys() - ANNOTATIONS != {"$ref"}:
            break
        reference = schema["$ref"]
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        schema = resolve(reference, root)
    return schema
