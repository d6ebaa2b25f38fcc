"""Texts that reason before they follow a format."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from fleet_server.engines.guided.compiler import GrammarCompiler
from fleet_server.generation.formats.reasoned import after_reasoning, can_follow_reasoning
from fleet_server.generation.reasoning import MARKS, ReasoningMarks
from fleet_server.generation.tool_parsers.call_grammar import forced
from fleet_server.protocols import FormatKind, OutputFormat
from support.guided_text import Tokens, allows

THINK = MARKS[0]
ANSWER = OutputFormat(json.dumps({"type": "boolean"}), "p", strict=True)
CALL = forced([("f", OutputFormat(json.dumps({"type": "object"}), "p"))], parallel=True)

Guided = tuple[GrammarCompiler, Tokens]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "special"])
def guided(request: pytest.FixtureRequest) -> Iterator[Guided]:
    marks = [THINK.open, THINK.close]
    tokens = Tokens(marks, marks if request.param else ())
    made = GrammarCompiler(tokens.vocabulary())
    yield made, tokens
    made.close()


@pytest.mark.parametrize(
    ("output", "answer", "wrong"),
    [(ANSWER, "true", "maybe"), (CALL, '{"name": "f", "arguments": {}}', '{"name": "g"}')],
)
def test_the_answer_follows_the_reasoning(
    guided: Guided, output: OutputFormat, answer: str, wrong: str
) -> None:
    assert can_follow_reasoning(output, THINK)
    opened = after_reasoning(output, THINK, is_open=True)
    unopened = after_reasoning(output, THINK, is_open=False)
    for text in (f"Hm. {answer}\n</think>\n\n{answer}", f"</think>{answer}"):
        assert allows(*guided, opened, text)
        assert not allows(*guided, unopened, text)
        assert allows(*guided, unopened, f"<think>{text}")
    for text in (answer, f"Hm.</think>{wrong}", f"Hm.</think>{answer} x", "Hm."):
        assert not allows(*guided, opened, text)


def test_what_cannot_follow_reasoning() -> None:
    assert not can_follow_reasoning(OutputFormat("[a-z]", "p", FormatKind.REGEX), THINK)
    assert not can_follow_reasoning(ANSWER, ReasoningMarks("<|channel>thought\n", "<channel|>"))
    free = OutputFormat("start: TEXT", "p", FormatKind.CALLS, free=True)
    assert not can_follow_reasoning(free, THINK)
