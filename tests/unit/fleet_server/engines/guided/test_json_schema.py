"""Whatever random weights write under the grammar of a schema is valid against the schema."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_contract.errors import BadRequest
from fleet_server.engines.guided.compiler import GrammarCompiler
from fleet_server.generation.formats.schema import narrowed
from fleet_server.protocols import OutputFormat
from support import schema_corpus

END = 256
MOST_BYTES = 400
LIKELY = [ord(letter) for letter in '"}],:{[0123456789-.TZ@:/ntrfalsue']


def written(compiler: GrammarCompiler, wanted: OutputFormat, seed: int) -> str | None:
    """A text that follows the format, drawn at random; None if it has not ended."""
    masks = compiler.compile(wanted).start()
    draw = random.Random(seed)
    text: list[int] = []
    for place in range(MOST_BYTES):
        logits = np.zeros(257, dtype=np.float32)
        masks.apply(logits)
        assert masks.error is None
        allowed = np.flatnonzero(np.isfinite(logits)).tolist()
        assert allowed, bytes(text)
        if END in allowed and draw.random() < 0.5:
            return bytes(text).decode()
        bytes_ = [each for each in allowed if each != END]
        if not bytes_:
            return bytes(text).decode()
        likely = [each for each in bytes_ if each in LIKELY]
        close = [each for each in likely if each in b'"}]']
        if place > MOST_BYTES // 3 and close:
            likely = close
        byte = draw.choice(likely if likely and draw.random() < 0.9 else bytes_)
        text.append(byte)
        masks.accept([byte])
    return None


def finite(text: str) -> float:
    """Numbers such as 1e999 are valid JSON, but no Python float."""
    value = float(text)
    return value if math.isfinite(value) else 1e300


def format_of(schema: Any, *, strict: bool) -> OutputFormat:
    return OutputFormat(narrowed(schema, "p"), "p", strict=strict)


@pytest.mark.parametrize("name", sorted(schema_corpus.ALL))
def test_texts_of_clients_schemas_are_valid(compiler: GrammarCompiler, name: str) -> None:
    schema = schema_corpus.ALL[name]
    valid = jsonschema_rs.validator_for(schema, validate_formats=True)
    wanted = format_of(schema, strict=True)
    ended = 0
    for seed in range(12):
        text = written(compiler, wanted, seed)
        if text is not None:
            valid.validate(json.loads(text, parse_float=finite))
            ended += 1
    assert ended
    assert compiler.compile(wanted).unenforced == ()


SCALARS = st.sampled_from([
    {"type": "integer", "minimum": -3, "maximum": 12}, {"type": "boolean"}, {"type": "null"},
    {"type": "number", "exclusiveMinimum": 0.5, "maximum": 2}, {"const": {"a": [1, None]}},
    {"enum": ["a", 2, None, "ä\n"]}, {"type": "string", "minLength": 1, "maxLength": 3},
    {"type": "string", "pattern": "^(ab|c[0-9]+)$"}, {"type": "string", "format": "date"},
    {"type": ["string", "null"], "maxLength": 2}, {"type": "integer", "multipleOf": 7},
])  # fmt: skip


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = st.lists(inner, min_size=1, max_size=3)
    names = st.sampled_from(["a", "b", "c d", "ü"])
    return st.one_of(
        st.builds(lambda parts: {"anyOf": parts}, few),
        st.builds(lambda item, most: {"type": "array", "items": item, "maxItems": most},
                  inner, st.integers(0, 2)),
        st.builds(lambda parts: {"type": "array", "prefixItems": parts, "items": False,
                                 "minItems": len(parts)}, few),
        st.builds(lambda parts, wanted: {"type": "object", "properties": parts,
                                         "required": sorted(parts)[:wanted]},
                  st.dictionaries(names, inner, min_size=1, max_size=3), st.integers(0, 3)),
        st.builds(lambda value: {"type": "object", "additionalProperties": value,
                                 "maxProperties": 1}, inner),
    )  # fmt: skip


_SHARED: list[GrammarCompiler] = []


LEAP_DAY = "-02-29"
"""llguidance's dates have it in all years."""


@settings(max_examples=60, deadline=None)
@given(st.recursive(SCALARS, combined, max_leaves=6), st.integers(0, 1000))
def test_texts_of_any_schema_are_valid(schema: Any, seed: int) -> None:
    text = written(_compiler(), format_of(schema, strict=True), seed)
    if text is not None and LEAP_DAY not in text:
        jsonschema_rs.validator_for(schema, validate_formats=True).validate(json.loads(text))


def _compiler() -> GrammarCompiler:
    return _SHARED[0]


@pytest.fixture(autouse=True)
def _share(compiler: GrammarCompiler) -> None:
    _SHARED[:] = [compiler]


UNENFORCEABLE: dict[str, Any] = {
    "not": {"not": {"type": "string"}},
    "if": {"if": {}, "then": {}},
    "uniqueItems": {"type": "array", "uniqueItems": True},
    "contains": {"type": "array", "contains": {"const": 1}, "maxItems": 1},
    "dependentRequired": {"type": "object", "dependentRequired": {"a": ["b"]}},
    "unevaluatedProperties": {"type": "object", "unevaluatedProperties": False},
    "oneOf": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    "format": {"type": "string", "format": "json-pointer"},
    "pattern": {"type": "string", "pattern": r"\bword\b"},
    "minProperties": {
        "type": "object",
        "properties": {"a": {}},
        "minProperties": 1,
        "additionalProperties": True,
    },
    "patternProperties": {"type": "object", "patternProperties": {r"(?!a)": {}}},
}


@pytest.mark.parametrize("keyword", sorted(UNENFORCEABLE))
def test_what_no_grammar_holds_is_reported_or_refused(
    compiler: GrammarCompiler, keyword: str
) -> None:
    schema = {
        "type": "object", "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"enum": [1]}},
        "required": ["a", "b"], "$defs": {"x": UNENFORCEABLE[keyword]},
    }  # fmt: skip
    loose = compiler.compile(format_of(schema, strict=False))
    assert keyword in loose.unenforced
    assert set(loose.unenforced) <= {keyword, "then", "minContains"}
    for seed in range(20):
        text = written(compiler, format_of(schema, strict=False), seed)
        if text is not None:
            assert json.loads(text)["b"] == 1  # the rest is enforced
    with pytest.raises(BadRequest) as caught:
        compiler.compile(format_of(schema, strict=True))
    assert caught.value.code == "invalid_schema"
    assert NAMED.get(keyword, keyword) in caught.value.message


NAMED = {"pattern": r"\bword\b", "patternProperties": "look-around", "minProperties": "Properties"}
"""What the messages contain instead of the keyword."""


def test_annotations_and_great_bounds_are_no_obstacle(compiler: GrammarCompiler) -> None:
    schema = {
        "$schema": "https://example.com/own", "$id": "https://example.com/a", "title": "T",
        "$comment": "c", "type": "object", "deprecated": True, "readOnly": True,
        "properties": {
            "a": {"type": "integer", "minimum": -(2**63), "maximum": 2**64 - 1, "x-order": 1},
            "b": {"type": "string", "format": "binary", "contentMediaType": "image/png"},
            "c": {"type": "number", "minimum": 1e-300, "maximum": 1e300},
            "d": {"$ref": "#/definitions/d", "description": "e", "default": 3, "examples": [4]},
        },
        "definitions": {"d": {"const": 5}},
    }  # fmt: skip
    assert compiler.compile(format_of(schema, strict=True)).unenforced == ()
