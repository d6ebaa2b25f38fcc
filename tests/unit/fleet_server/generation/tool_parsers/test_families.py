"""Tool calls in the format of each model family, whole and in pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.generation.tool_parsers import families
from fleet_server.generation.tool_parsers.block_parser import MAX_FAILED, MAX_INNER, BlockParser
from fleet_server.generation.tool_parsers.families import syntax_of
from fleet_server.generation.tool_parsers.syntax import Syntax
from support.recorded_calls import (
    OUTPUTS,
    SCHEMAS,
    calls_of,
    json_of,
    run,
    split,
    text_of,
)

SYNTAXES = {syntax.name: syntax for _, syntax in families.BY_TEMPLATE} | {"json": families.PLAIN}
CUTS = st.lists(st.integers(0, 1000), max_size=12)
MARKS = sorted({mark for syntax in SYNTAXES.values() for mark in (*syntax.marks, *syntax.leads)})
PARTS = [*MARKS, *(output for _, output, _, _ in OUTPUTS), *(output[:-9] for _, output, _, _ in
         OUTPUTS), " ", "\n", '"', "\\", "{", "}", "[", "]", "a", "é", "call:now", "<function=now>",
         '{"name": "now"', '{"name": "other", "arguments": {}}']  # fmt: skip


def is_closed(name: str, output: str) -> bool:
    close = SYNTAXES[name].close
    return close is not None and output.removesuffix("Calling.").rstrip().endswith(close)


CLOSED = [each for each in OUTPUTS if is_closed(each[0], each[1])]
"""Those whose calls are between marks."""


def made(name: str, *, single: bool = False) -> BlockParser:
    return BlockParser(SYNTAXES[name], SCHEMAS, single=single)


@pytest.mark.parametrize(("name", "output", "text", "calls"), OUTPUTS)
def test_the_calls_of_each_family(name: str, output: str, text: str, calls: list[Any]) -> None:
    for parts in ([output], list(output), split(output, range(0, 999, 3))):
        parser = made(name)
        pieces = run(parser, parts)
        assert calls_of(pieces) == calls
        assert text_of(pieces) == text
        assert parser.called


@given(st.sampled_from(OUTPUTS), CUTS)
def test_pieces_do_not_change_the_calls(given: Any, cuts: list[int]) -> None:
    name, output, text, calls = given
    pieces = run(made(name), split(output, cuts))
    assert (text_of(pieces), calls_of(pieces)) == (text, calls)


@given(st.sampled_from(sorted(SYNTAXES)), st.lists(st.sampled_from(PARTS), max_size=8), CUTS)
def test_any_text_gives_the_same_whatever_its_pieces(
    name: str, parts: list[str], cuts: list[int]
) -> None:
    text = "".join(parts)
    whole, parser = run(made(name), [text]), made(name)
    pieces = run(parser, split(text, cuts))
    assert (text_of(pieces), calls_of(pieces)) == (text_of(whole), calls_of(whole))
    assert all(call in SCHEMAS and isinstance(given, dict) for call, given in calls_of(pieces))
    if not parser.called:
        assert text_of(pieces) == text


@given(st.sampled_from(sorted(SYNTAXES)), st.text(), CUTS)
def test_text_without_calls_is_unchanged(name: str, text: str, cuts: list[int]) -> None:
    assert text_of(run(made(name), split(text, cuts))) == text


@pytest.mark.parametrize(
    "block",
    [
        '{"name": "get_weather", "arguments": {"city": }}',
        '{"name": "get_weather", "arguments": [1]}',
        '{"name": "get_weather", "arguments": "Paris"}',
        '{"name": "get_weather", "arguments": {"days": NaN}}',
        '{"name": "get_weather", "arguments": {"days": 1e999}}',
        '{"name": "unknown", "arguments": {}}',
        '{"name": 5, "arguments": {}}',
        '{"name": "now"}',
        '{"arguments": {}}',
        "<function=unknown></function>",
        "<function=now>text</function>",
        "null", "", "[]", '{"a": ' * 5000,
    ],
)  # fmt: skip
def test_what_is_not_a_call_is_text(block: str) -> None:
    output = f"So: <tool_call>{block}</tool_call> and <tool_call>{json_of(('now', {}))}</tool_call>"
    pieces = run(made("hermes"), [output])
    assert text_of(pieces) == f"So: <tool_call>{block}</tool_call> and"
    assert calls_of(pieces) == [("now", {})]


def test_a_lone_surrogate_stays_escaped() -> None:
    block = '{"name": "get_weather", "arguments": {"city": "\\ud800é"}}'
    pieces = run(made("hermes"), [f"<tool_call>{block}</tool_call>"])
    assert calls_of(pieces) == [("get_weather", {"city": "\ud800é"})]
    assert "\\ud800" in pieces[1].text  # type: ignore[union-attr]


def test_arguments_as_text_are_read() -> None:
    block = '{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}'
    assert calls_of(run(made("json"), [block])) == [("get_weather", {"city": "Paris"})]


def test_only_the_first_call_if_one_is_wanted() -> None:
    block = f"<tool_call>{json_of(('now', {}))}</tool_call>"
    parser = made("hermes", single=True)
    assert not parser.done
    pieces = parser.feed(block + block)
    assert parser.done
    assert calls_of([*pieces, *parser.feed("more"), *parser.flush()]) == [("now", {})]


def test_text_before_a_call_is_not_held_back() -> None:
    parser = made("hermes")
    assert text_of(parser.feed("Let me see <tool")) == "Let me see"
    assert text_of(parser.feed("box>")) == " <toolbox>"


def test_many_marks_without_calls_take_linear_time() -> None:
    output = "<tool_call>" * (MAX_FAILED * 3) + f"<tool_call>{json_of(('now', {}))}</tool_call>"
    pieces = run(made("hermes"), [output])
    assert text_of(pieces) == output


@pytest.mark.parametrize(("number", "called"), [(MAX_INNER, True), (MAX_INNER + 1, False)])
def test_closing_marks_within_texts_take_bounded_time(number: int, called: bool) -> None:
    """Each makes the parser read the block from its beginning."""
    output = f"<tool_call>{json_of(('now', {'a': '</tool_call>' * number}))}</tool_call>"
    pieces = run(made("hermes"), split(output, range(0, 2000, 9)))
    assert (text_of(pieces), len(calls_of(pieces))) == ("" if called else output, int(called))


def test_mistral_ids_are_what_its_templates_accept() -> None:
    start = run(made("mistral"), ["[TOOL_CALLS]now[ARGS]{}"])[0]
    assert start.id.isalnum()  # type: ignore[union-attr]
    assert len(start.id) == 9  # type: ignore[union-attr]
    assert run(made("llama"), [json_of(("now", {}))])[0].id.startswith("call_")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("<tools></tools> <tool_call>\\n{...}\\n</tool_call> <|im_start|>", "hermes"),
        ("<|start_of_role|>assistant<|end_of_role|> <tool_call></tool_call>", "hermes"),
        ("<|start_of_role|>tools write <|tool_call|> followed by JSON", "granite"),
        ("<|start_header_id|>ipython<|end_header_id|> {\"name\": , \"parameters\": }", "llama"),
        ("Environment: ipython <|python_tag|>", "llama"),
        ("[AVAILABLE_TOOLS] [TOOL_CALLS] [/AVAILABLE_TOOLS]", "mistral"),
        ("<|turn>model\\n<|tool_call>call:<tool_call|>", "gemma"),
        ("<start_of_turn>model <start_function_call>", "functiongemma"),
        ("<|system|>{{ tools }}<|tool|>[]<|/tool|><|end|>", "phi"),
        ("<｜Assistant｜><｜tool▁calls▁begin｜>function```json", "deepseek"),
        ("<｜Assistant｜><｜tool▁calls▁begin｜>", "deepseek-v3.1"),
        ("<｜Assistant｜><｜DSML｜function_calls>", "deepseek-v3.2"),
        ("<|header_start|>ipython <|python_start|>", "llama4"),
        ("<tool_call>\\n<function=a>\\n</function>\\n</tool_call>", "xml"),
        ("[AVAILABLE_TOOLS] [TOOL_CALLS]f[ARGS]{}", "mistral-args"),
        ("<|tool_list_start|> <|tool_call_start|>", "lfm2"),
        ("<|im_start|>{{ message.content }}<|im_end|>", "json"),
    ],
)  # fmt: skip
def test_the_chat_template_chooses_the_syntax(template: str, name: str) -> None:
    assert syntax_of(template).name == name


@given(st.sampled_from(CLOSED), st.text("ab \n1.é<"), st.text("ab \n1.é<"), CUTS)
def test_no_letter_around_calls_is_lost(
    given: Any, before: str, after: str, cuts: list[int]
) -> None:
    name, output, text, calls = given
    pieces = run(made(name), split(before + output + after, cuts))
    assert calls_of(pieces) == calls
    assert "".join(text_of(pieces).split()) == "".join((before + text + after).split())


def test_every_family_has_recorded_outputs() -> None:
    recorded = {name for name, *_ in OUTPUTS}
    registered = {value.name for value in vars(families).values() if isinstance(value, Syntax)}
    assert recorded == registered - {"harmony"}  # those of harmony are in test_harmony.py


def test_every_family_is_chosen_by_a_template() -> None:
    names = {syntax.name for _, syntax in families.BY_TEMPLATE}
    found = {value.name for value in vars(families).values() if isinstance(value, Syntax)}
    assert found == names | {"json", "harmony"}
