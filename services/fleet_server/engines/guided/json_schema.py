"""Prepares JSON Schemas for llguidance: what it refuses although it has an equivalent, and what no
grammar can hold.

Keywords: github.com/guidance-ai/llguidance, docs/json_schema.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fleet_server.engines.guided.patterns import without_look_around
from fleet_server.engines.guided.property_names import with_patterns
from fleet_server.engines.guided.schema_walk import Schema, rewritten

ENFORCED_FORMATS = frozenset({
    "date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid",
})  # fmt: skip
UNENFORCED_FORMATS = frozenset({
    "idn-email", "idn-hostname", "uri-reference", "iri", "iri-reference", "uri-template",
    "json-pointer", "relative-json-pointer", "regex",
})  # fmt: skip
"""Other formats of JSON Schema; all further ones are annotations without a meaning."""
NO_LEAP_SECOND = "^[^:]*:[^:]*:[0-5]"
"""Python and JavaScript have none."""
SHORT_LABELS = "^[^@]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]{0,40}[A-Za-z0-9])?[.]){1,4}[A-Za-z]{2,24}$"
NARROWER = {"date-time": NO_LEAP_SECOND, "time": NO_LEAP_SECOND, "email": SHORT_LABELS}
"""Where llguidance allows texts that other libraries refuse."""
DIALECTS = re.compile(r"https?://json-schema\.org/(draft-0[4-7]|draft/20(19-09|20-12))/schema#?")
LOWER = ("minimum", "exclusiveMinimum")
UPPER = ("maximum", "exclusiveMaximum")
GREATEST = 10**18
"""Bounds of numbers beyond it are not supported by llguidance."""
SMALLEST = 1e-12

UNIMPLEMENTED = re.compile(r"Unimplemented keys: \[(.*)\]")
UNKNOWN_FORMAT = re.compile(r"Unknown format: ")
ONE_OF = re.compile(r"oneOf ")
NUM_PROPERTIES = re.compile(r"min/maxProperties")


def equivalent(schema: Any) -> Any:
    """The schema without annotations that llguidance refuses, and with bounds and patterns that it
    supports. Texts that follow it follow `schema`; of numbers, those beyond 10^18 are left out."""
    return rewritten(schema, partial(_equivalent, schema))


def relaxed(schema: Any, fits: Callable[[Schema], bool]) -> tuple[Any, set[str]]:
    """The schema without the patterns and bounds that do not compile, which `fits` tries alone,
    and the keywords left out."""
    dropped: set[str] = set()

    def change(found: Schema) -> Schema:
        kept = dict(found)
        for names in (("pattern",), (*LOWER, *UPPER), ("multipleOf",)):
            part = {name: kept[name] for name in names if name in kept}
            if part and not fits({"type": _type_for(names, kept), **part}):
                dropped.update(part)
                for name in part:
                    del kept[name]
        patterns = kept.get("patternProperties")
        if isinstance(patterns, dict):
            bad = [each for each in patterns if not fits({"type": "string", "pattern": each})]
            if bad:
                dropped.add("patternProperties")
                kept["patternProperties"] = {
                    key: value for key, value in patterns.items() if key not in bad
                }
        return kept

    return rewritten(schema, change), dropped


def unenforced(warnings: Sequence[str], schema: Any) -> set[str]:
    """The keywords that llguidance ignored according to its warnings."""
    found: set[str] = set()
    for warning in warnings:
        if listed := UNIMPLEMENTED.search(warning):
            found.update(re.findall(r'"([^"]+)"', listed[1]))
        elif UNKNOWN_FORMAT.match(warning):
            found.add("format")
        elif ONE_OF.match(warning):
            found.add("oneOf")
        elif NUM_PROPERTIES.match(warning):
            found |= {"minProperties", "maxProperties"} & keywords(schema)
        else:
            found.add("other")
    return found


def keywords(schema: Any) -> set[str]:
    """All keywords that the schema and those within it use."""
    found: set[str] = set()

    def change(inner: Schema) -> Schema:
        found.update(inner)
        return inner

    rewritten(schema, change)
    return found


def _equivalent(root: Schema, schema: Schema) -> Schema:
    found = with_patterns(schema, root)
    form = found.get("format")
    if isinstance(form, str) and form not in ENFORCED_FORMATS | UNENFORCED_FORMATS:
        del found["format"]
    dialect = found.get("$schema")
    if isinstance(dialect, str) and not DIALECTS.fullmatch(dialect):
        del found["$schema"]
    _bound(found)
    more = [NARROWER[form]] if isinstance(form, str) and form in NARROWER else []
    pattern = found.get("pattern")
    if isinstance(pattern, str):
        found["pattern"], *others = without_look_around(pattern)
        more += others
    if more and isinstance(found.get("allOf", []), list):
        patterns = [{"type": "string", "pattern": each} for each in more]
        found["allOf"] = [*found.get("allOf", []), *patterns]
    return found


def _bound(schema: Schema) -> None:
    """Drop bounds that llguidance's numbers of at most 18 digits keep anyway; tighten others."""
    for names, sign in ((LOWER, -1), (UPPER, 1)):
        for name in names:
            value = schema.get(name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if value * sign > GREATEST:
                schema[name] = sign * GREATEST
            elif 0 < -value * sign < SMALLEST:
                schema[name] = -sign * SMALLEST


def _type_for(names: Sequence[str], schema: Schema) -> str:
    if names == ("pattern",):
        return "string"
    return "integer" if schema.get("type") == "integer" else "number"
