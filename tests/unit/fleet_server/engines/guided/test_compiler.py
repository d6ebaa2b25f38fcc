"""Schemas become masks; unsupported and slow schemas are refused."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

import llguidance
import numpy as np
import pytest

from fleet_contract.errors import BadRequest, QueueFull
from fleet_server.engines.guided import compiler as module
from fleet_server.engines.guided.compiler import (
    CACHED,
    MAX_WAITING,
    GrammarCompiler,
    GuidedVocabulary,
    keeping_texts,
)
from fleet_server.engines.guided.elsewhere import source_compiler
from fleet_server.protocols import FormatKind, OutputFormat
from support.tiny_chat import tokenizer

SIZE = 260
"""Rows of logits have a few more numbers than the vocabulary has tokens."""


def wanted(schema: Any) -> OutputFormat:
    if isinstance(schema, OutputFormat):
        return schema
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
        {"type": "x"}, {"$ref": "#/$defs/none"}, {"$ref": "http://127.0.0.1:9/"},
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


def test_a_text_that_must_follow_is_tokenised_once() -> None:
    given: list[str] = []

    def encode(text: str) -> list[int]:
        given.append(text)
        return list(text.encode())

    bytes_ = [bytes([byte]) for byte in range(256)]
    compiler = GrammarCompiler(GuidedVocabulary([*bytes_, b"<end>"], [256], [256], encode))
    schema = {"type": "object", "properties": {"name": {"type": "null"}}, "required": ["name"]}
    grammar = compiler.compile(OutputFormat(json.dumps(schema), "p"))
    for _ in range(3):
        masks = grammar.start()
        for byte in b'{"name":null}':
            logits = np.zeros(257, dtype=np.float32)
            masks.apply(logits)
            assert np.isfinite(logits[byte])
            masks.accept([byte])
    compiler.close()
    assert 'ame"' in given
    assert len(given) == len(set(given))


def test_a_vocabulary_that_keeps_texts() -> None:
    read = llguidance.LLTokenizer(tokenizer("qwen").to_str(), n_vocab=400, eos_token=[1, 2])
    kept = keeping_texts(read)
    assert (kept.vocab_size, kept.eos_tokens, kept.is_canonical) == (400, [1, 2], read.is_canonical)
    for text in ("The name of it", '{"name": "<|im_end|>"}', "é€😀"):
        assert kept.tokenize_str(text) == read.tokenize_str(text)
    for token in range(400):
        assert kept.decode_bytes([token]) == read.decode_bytes([token])
        assert kept.is_special_token(token) == read.is_special_token(token)
    given = 'start: "The name" /[a-z]{2,5}/ <|im_end|> "of it"'
    matchers = [llguidance.LLMatcher(each, given) for each in (read, kept)]
    for token in [*read.tokenize_str("The name"), *read.tokenize_str("abcd"), 4]:
        old, new = [each.compute_bitmask() for each in matchers]
        assert old == new
        assert old[token // 8] & 1 << token % 8
        for each in matchers:
            assert each.consume_token(token)


@pytest.mark.usefixtures("stuck")
def test_a_compilation_has_a_deadline_and_a_bounded_queue(compiler: GrammarCompiler) -> None:
    for number in range(module.THREADS + MAX_WAITING):
        with pytest.raises(BadRequest) as caught:
            compiler.compile(wanted({"const": number}))
        assert caught.value.code == "schema_too_expensive"
    with pytest.raises(QueueFull):
        compiler.compile(wanted({"const": -1}))


def test_the_processor_time_of_a_format(compiler: GrammarCompiler) -> None:
    small, large = [
        compiler.compile(OutputFormat("a?" * number, "p", FormatKind.REGEX)).cpu_seconds
        for number in (1, 2000)
    ]
    assert 0 < small < large


def test_processor_time_has_a_limit_for_engines_that_compile_again() -> None:
    compiler = source_compiler(0.2)
    try:
        with pytest.raises(BadRequest) as caught:
            compiler.compile(OutputFormat("a?" * 5000, "the.place", FormatKind.REGEX))
        assert (caught.value.code, caught.value.param) == ("schema_too_expensive", "the.place")
        compiler.compile(wanted({"type": "object", "properties": {"a": {"type": "string"}}}))
    finally:
        compiler.close()


GBNF = r"""root ::= list
list ::= "[" (item ("," item)*)? "]"
item ::= [a-z]+ | list"""


@pytest.mark.parametrize(
    ("kind", "source", "good", "bad"),
    [
        (FormatKind.REGEX, r"a/b\/\d{2}", "a/b/12", "a/b/1"),
        (FormatKind.REGEX, "x\ny|z", "x\ny", "x"),
        (FormatKind.REGEX, "x\\\ny", "x\ny", "x\\ny"),
        (FormatKind.REGEX, "[a-c]\0?[\0-9]", "a\0\0", "a\0\0\0"),
        (FormatKind.REGEX, "a\\\0\\\\\0", "a\0\\\0", "a\\x00"),
        (FormatKind.GRAMMAR, GBNF, "[ab,[c]]", "[ab"),
        (FormatKind.GRAMMAR, 'start: "x" /[0-9]+/', "x12", "x"),
        (FormatKind.GRAMMAR, 'start: "&~" /[&~]/ // & or ~', "&~~", "&~a"),
        (FormatKind.GRAMMAR, "start: D ~ 2..3\nD: /[0-9]/", "12", "1"),
        (FormatKind.GRAMMAR, 'root ::= "\\"&" [&~]', '"&&', '"&"'),
        (FormatKind.GRAMMAR, 'start: %json {"type": "boolean"}', "true", "1"),
    ],
)
def test_patterns_and_grammars(
    compiler: GrammarCompiler, kind: FormatKind, source: str, good: str, bad: str
) -> None:
    form = OutputFormat(source, "p", kind)
    assert follows(compiler, form, good)
    assert not follows(compiler, form, bad)


@pytest.mark.parametrize(
    ("kind", "source", "code"),
    [
        (FormatKind.REGEX, "(a", "invalid_pattern"),
        (FormatKind.REGEX, r"(a)\1", "invalid_pattern"),
        (FormatKind.REGEX, "(?=a)b", "invalid_pattern"),
        (FormatKind.GRAMMAR, "start: nothing", "invalid_grammar"),
        (FormatKind.GRAMMAR, "root ::= nothing", "invalid_grammar"),
        (FormatKind.GRAMMAR, 'root ::= ("a"', "invalid_grammar"),
        (FormatKind.GRAMMAR, "start: start", "invalid_grammar"),
        (FormatKind.GRAMMAR, "nonsense", "invalid_grammar"),
        (FormatKind.GRAMMAR, 'start: "a" /[b\0]/', "invalid_grammar"),
        (FormatKind.GRAMMAR, 'root ::= "a"\0', "invalid_grammar"),
        (FormatKind.GRAMMAR, 'start: A\nA: /"/ & /.*/', "invalid_grammar"),
        (FormatKind.GRAMMAR, "start: A\nA: ~/a/", "invalid_grammar"),
        (FormatKind.GRAMMAR, 'start: %json {"type": "x"}', "invalid_grammar"),
        (FormatKind.GRAMMAR, "start: " + "(" * 65 + '"a"' + ")" * 65, "grammar_too_large"),
        (FormatKind.GRAMMAR, 'start: "a"' + "\n" * 1001, "grammar_too_large"),
    ],
)
def test_wrong_patterns_and_grammars_are_refused(
    compiler: GrammarCompiler, kind: FormatKind, source: str, code: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        compiler.compile(OutputFormat(source, "the.place", kind))
    assert (caught.value.code, caught.value.param) == (code, "the.place")
    assert "\n" not in caught.value.message


CHAIN = "\n".join(["start: r0", *(f"r{n}: r{n + 1}" for n in range(900)), 'r900: "a"'])
COSTLY = [
    (FormatKind.GRAMMAR, CHAIN),
    (FormatKind.GRAMMAR, "\n".join(["start: r0", *(f'r{n}: r{n + 1} r{n + 1}' for n in range(60)),
                                    'r60: "a"'])),
    (FormatKind.GRAMMAR, 'start: start start | "a" |'),
    (FormatKind.GRAMMAR, 'start: a\na: a "x" | b\nb: b a | a b |'),
    (FormatKind.REGEX, "(((a{1,100}){1,100}){1,100}){1,100}"),
    (FormatKind.REGEX, "((a|b)*c(a|b){300}){50}"),
    (FormatKind.REGEX, "(" * 240 + "a" + ")+" * 240),
    (FormatKind.REGEX, "|".join(f"word{n}" for n in range(10_000))),
    (FormatKind.JSON_SCHEMA, json.dumps({"enum": [f"x{n}" for n in range(20_000)]})),
    (FormatKind.JSON_SCHEMA, json.dumps({"type": "string", "pattern": "^(.*,){50}P$"})),
    (FormatKind.JSON_SCHEMA, json.dumps({"type": "array", "items": {}, "minItems": 10**9})),
    (FormatKind.JSON_SCHEMA, json.dumps({"type": "string", "minLength": 10**9})),
    (FormatKind.JSON_SCHEMA, json.dumps({"type": "integer", "multipleOf": 1e-300})),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(COSTLY)))
def test_costly_formats_end_within_the_deadline(compiler: GrammarCompiler, case: int) -> None:
    kind, source = COSTLY[case]
    with contextlib.suppress(BadRequest):
        masks = compiler.compile(OutputFormat(source, "p", kind)).start()
        for _ in range(20):
            tokens = allowed(masks)
            assert tokens
            masks.accept([min(tokens)])
    assert follows(compiler, {"const": 1}, "1")  # the threads are free again
