"""vLLM's structural tags: texts that their grammars allow, and tags that are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.chat.request import parse
from fleet_server.engines.guided.compiler import GrammarCompiler, GuidedVocabulary
from fleet_server.protocols import FormatKind, OutputFormat

END, CALL = 256, 257
SPEC = ModelSpec.model_validate({"model": "m"})
NUMBER = {"type": "integer"}
WORDS = {"enum": ["a", "b"]}
STRUCTURES = [
    {"begin": "<f=one>", "schema": NUMBER, "end": "</f>"},
    {"begin": "<f=two>", "schema": WORDS, "end": "</f>"},
    {"begin": "[go]", "schema": WORDS, "end": ""},
]  # fmt: skip
PLAIN = {"type": "structural_tag", "structures": STRUCTURES, "triggers": ["<f=", "[go]"]}


def triggered(**fields: Any) -> dict[str, Any]:
    tags = [
        {"type": "tag", "begin": each["begin"], "end": each["end"],
         "content": {"type": "json_schema", "json_schema": each["schema"]}}
        for each in STRUCTURES
    ]  # fmt: skip
    form = {"type": "triggered_tags", "triggers": PLAIN["triggers"], "tags": tags, **fields}
    return {"type": "structural_tag", "format": form}


def read(form: Any) -> OutputFormat:
    """The same in both fields of a request."""
    found = []
    for fields in ({"response_format": form}, {"structured_outputs": {"structural_tag": form}},
                   {"structured_outputs": {"structural_tag": json.dumps(form)}}):  # fmt: skip
        body = {"messages": [{"role": "user", "content": "x"}], **fields}
        output = parse(body, SPEC).options.output
        assert output is not None
        found.append(output)
    assert len({(each.source, each.marks, each.kind) for each in found}) == 1
    assert found[0].kind is FormatKind.CALLS
    assert found[0].free
    return found[0]


@pytest.fixture(scope="module")
def compiler() -> Iterator[GrammarCompiler]:
    """Every token is a byte; 257 is the special token `<f=`."""
    made = GrammarCompiler(GuidedVocabulary(
        pieces=[*(bytes([byte]) for byte in range(256)), b"<end>", b"<s>"], special=[END, CALL],
        stop_ids=[END], encode=lambda text: [CALL] if text == "<s>" else list(text.encode()),
    ))  # fmt: skip
    yield made
    made.close()


def follows(compiler: GrammarCompiler, form: OutputFormat, tokens: list[int]) -> bool:
    """Whether the masks allow each of the tokens, and then the end."""
    masks = compiler.compile(form).start()
    for token in (*tokens, END):
        logits = np.zeros(258, dtype=np.float32)
        masks.apply(logits)
        if not np.isfinite(logits[token]):
            return False
        masks.accept([token])
    return True


GOOD = [
    "", "any text <f is free", "<f=one>12</f>", 'Say <f=two>"a"</f> and <f=one>7</f>. Done',
    '[go]"b"', "f=one>x",
]  # fmt: skip
BAD = ["<f=", "<f=one>x</f>", "<f=one>12", "<f=three>1</f>", 'so <f=two>"c"</f>', "[go]1"]


@pytest.mark.parametrize("form", [PLAIN, triggered()], ids=["plain", "format"])
def test_texts_follow_their_tags(compiler: GrammarCompiler, form: Any) -> None:
    output = read(form)
    for text in GOOD:
        assert follows(compiler, output, list(text.encode())), text
    for text in BAD:
        assert not follows(compiler, output, list(text.encode())), text


@pytest.mark.parametrize(
    ("flags", "good", "bad"),
    [
        ({"at_least_one": True}, ["x <f=one>1</f> y"], ["", "x"]),
        ({"stop_after_first": True}, ["", "x", "x <f=one>1</f>"], ["<f=one>1</f> y"]),
        ({"at_least_one": True, "stop_after_first": True}, ["x <f=one>1</f>"],
         ["", "x", "<f=one>1</f><f=one>1</f>"]),
    ],
)  # fmt: skip
def test_flags(
    compiler: GrammarCompiler, flags: dict[str, bool], good: list[str], bad: list[str]
) -> None:
    output = read(triggered(**flags))
    for text in good:
        assert follows(compiler, output, list(text.encode())), text
    for text in bad:
        assert not follows(compiler, output, list(text.encode())), text


def test_a_trigger_may_be_a_special_token(compiler: GrammarCompiler) -> None:
    tag = {"begin": "<s>one:", "schema": NUMBER, "end": "."}
    output = read({"type": "structural_tag", "structures": [tag], "triggers": ["<s>"]})
    assert follows(compiler, output, [*b"so ", CALL, *b"one:12. end"])
    assert not follows(compiler, output, [*b"so ", CALL, *b"two:12."])
    assert not follows(compiler, output, [CALL])


def without(**fields: Any) -> dict[str, Any]:
    return {**PLAIN, **fields}


@pytest.mark.parametrize(
    ("form", "param"),
    [
        (without(triggers=[]), "response_format.triggers"),
        (without(triggers=[""]), "response_format.triggers[0]"),
        (without(triggers=["x" * 1001]), "response_format.triggers[0]"),
        (without(triggers=["x"] * 129), "response_format.triggers"),
        (without(triggers=["<f", "[go]", "<f="]), "response_format.triggers"),
        (without(triggers=["<f="]), "response_format"),
        (without(structures=[]), "response_format.structures"),
        (without(structures=STRUCTURES * 43), "response_format.structures"),
        (without(structures=[{"begin": "[go]", "end": ""}]),
         "response_format.structures[0].schema"),
        (without(structures=[{"schema": NUMBER, "end": ""}]),
         "response_format.structures[0].begin"),
        (without(structures=[{"begin": "[go]", "schema": NUMBER, "end": 1}]),
         "response_format.structures[0].end"),
        (without(structures=[{"begin": "[go]", "schema": {"enum": ["x" * 60_000]}, "end": ""}] * 4),
         "response_format"),
        (triggered(at_least_one=1), "response_format.format.at_least_one"),
        (triggered(tags=1), "response_format.format.tags"),
        (triggered(tags=[1]), "response_format.format.tags[0]"),
        (triggered(tags=[{"begin": "[go]", "end": ""}]), "response_format.format.tags[0].content"),
        ({"type": "structural_tag", "format": {}}, "response_format.format"),
    ],
)  # fmt: skip
def test_wrong_tags_are_refused(form: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse({"messages": [{"role": "user", "content": "x"}], "response_format": form}, SPEC)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"type": "structural_tag", "format": {"type": "sequence"}}, "response_format.format.type"),
        (triggered(tags=[{"begin": "[go]", "end": "", "content": {"type": "any_text"}}]),
         "response_format.format.tags[0].content.type"),
    ],
)  # fmt: skip
def test_other_formats_are_not_supported(form: Any, param: str) -> None:
    with pytest.raises(UnsupportedParameter, match="only") as caught:
        parse({"messages": [{"role": "user", "content": "x"}], "response_format": form}, SPEC)
    assert caught.value.param == param
