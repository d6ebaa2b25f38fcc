"""Schemas become masks; unsupported and slow schemas are refused."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest

from fleet_contract.errors import BadRequest, QueueFull
from fleet_server.engines.guided import compiler as module
from fleet_server.engines.guided.compiler import CACHED, MAX_WAITING, GrammarCompiler
from fleet_server.protocols import OutputFormat

SIZE = 260
"""Rows of logits have a few more numbers than the vocabulary has tokens."""


def wanted(schema: Any) -> OutputFormat:
    return OutputFormat(schema if isinstance(schema, str) else json.dumps(schema), "the.place")


def allowed(masks: Any) -> set[int]:
    logits = np.zeros(SIZE, dtype=np.float32)
    masks.apply(logits)
    return set(np.flatnonzero(np.isfinite(logits)).tolist())


def follows(compiler: GrammarCompiler, schema: Any, text: str) -> bool:
    """Whether the masks allow every byte of `text`, and then its end."""
    masks = compiler.compile(wanted(schema)).start()
    for byte in text.encode():
        if byte not in allowed(masks):
            return False
        masks.accept([byte])
    return 256 in allowed(masks)


ANY_OF = {"anyOf": [{"type": "string", "maxLength": 3 + n % 40} for n in range(126)]}
EMOJI = {"enum": [chr(0x1F300 + n) for n in range(149)]}
NODE = {
    "$defs": {"node": {
        "type": "object", "required": ["next"], "additionalProperties": False,
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    }},
    "$ref": "#/$defs/node",
}  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "object"}, '{"a": [1, null]}', "[1]"),
        ({"type": "string", "maxLength": 500}, json.dumps("x" * 500), json.dumps("x" * 501)),
        ({"type": "string", "minLength": 2}, '"ab"', '"a"'),
        (ANY_OF, '"abc"', json.dumps("x" * 43)),
        (EMOJI, '"🌀"', '"🤷"'),
        ({"type": "string", "pattern": "^[a-c]+$"}, '"abc"', '"abd"'),
        ({"type": "string", "format": "date"}, '"2026-01-31"', '"2026-1-31"'),
        ({"type": "integer", "minimum": 3, "maximum": 120}, "120", "121"),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, "[1, 2]", "[1,2,3]"),
        (NODE, '{"next": {"next": null}}', '{"next": 1}'),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "null", '"a"'),
        ({}, "1.5", "x"),
    ],
)
def test_texts_follow_the_schema(
    compiler: GrammarCompiler, schema: Any, good: str, bad: str
) -> None:
    assert follows(compiler, schema, good)
    assert not follows(compiler, schema, bad)


def test_white_space_is_short(compiler: GrammarCompiler) -> None:
    schema = {"type": "object", "properties": {"a": {}}, "required": ["a"]}
    for text in ('{"a":1}', '{ "a": 1 }', '{\n  "a": 1\n}'):
        assert follows(compiler, schema, text)
    for text in ('{  "a":1}', '{\n\n"a":1}', "{\n" + " " * 17 + '"a":1}'):
        assert not follows(compiler, schema, text)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "x"}, {"not": {}}, {"$ref": "#/$defs/none"}, {"$ref": "http://127.0.0.1:9/"},
        {"$ref": "#"}, {"enum": []}, {"allOf": [{"type": "null"}, {"type": "string"}]}, "[1]",
        "nonsense", '{"minimum": 1e999}',
    ],
)  # fmt: skip
def test_unsupported_schemas_are_refused(compiler: GrammarCompiler, schema: Any) -> None:
    for _ in range(2):  # the second time from the cache
        with pytest.raises(BadRequest) as caught:
            compiler.compile(wanted(schema))
        assert caught.value.param == "the.place"
        assert caught.value.code == "invalid_schema"
        assert "\n" not in caught.value.message


def test_a_schema_is_compiled_once_and_the_oldest_is_evicted(compiler: GrammarCompiler) -> None:
    first = compiler.compile(wanted({"const": 0}))
    assert compiler.compile(wanted({"const": 0})) is first
    for number in range(1, CACHED + 1):
        compiler.compile(wanted({"const": number}))
    assert len(compiler._known) == CACHED
    assert compiler.compile(wanted({"const": 0})) is not first


def test_sequences_do_not_share_their_state(compiler: GrammarCompiler) -> None:
    grammar = compiler.compile(wanted({"const": 12}))
    one, other = grammar.start(), grammar.start()
    one.accept([ord("1")])
    assert allowed(one) == {ord("2")}
    assert allowed(other) == {ord("1")}


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch, compiler: GrammarCompiler) -> Any:
    """Compilations that do not end until the event is set."""
    release = threading.Event()
    monkeypatch.setattr(compiler, "_compiled", lambda _: release.wait())
    monkeypatch.setattr(compiler, "_deadline", 0.01)
    yield release
    release.set()


@pytest.mark.usefixtures("stuck")
def test_a_compilation_has_a_deadline_and_a_bounded_queue(compiler: GrammarCompiler) -> None:
    for number in range(module.THREADS + MAX_WAITING):
        with pytest.raises(BadRequest) as caught:
            compiler.compile(wanted({"const": number}))
        assert caught.value.code == "schema_too_expensive"
    with pytest.raises(QueueFull):
        compiler.compile(wanted({"const": -1}))
