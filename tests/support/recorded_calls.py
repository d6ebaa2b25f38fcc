"""Outputs of each model family, and how parsers are run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from fleet_server.generation.output import CallParser
from fleet_server.generation.pieces import CallArguments, CallStart, Piece, Text, merged

SCHEMAS: dict[str, dict[str, Any]] = {
    "get_weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "zip": {"type": "string"},
            "units": {"type": "object"},
        },
    },
    "now": {"type": "object", "properties": {}},
}  # fmt: skip

PARIS: tuple[str, dict[str, Any]] = ("get_weather", {"city": "Paris"})
TRICKY: tuple[str, dict[str, Any]] = (
    "get_weather", {"city": 'a "</tool_call>" }] \\ é\n', "days": 3, "units": {"t": ["C", None]}},
)  # fmt: skip

V3 = "<｜tool▁calls▁begin｜>{}<｜tool▁calls▁end｜>"
V3_ONE = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}\n```json\n{}\n```<｜tool▁call▁end｜>"
V31_ONE = "<｜tool▁call▁begin｜>{}<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
XML = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n<parameter=zip>\n75001\n</parameter>\n</function>\n"
    "</tool_call>"
)
Q = '<|"|>'
DSML = "<｜DSML｜function_calls>\n{}</｜DSML｜function_calls>"
DSML_ONE = '<｜DSML｜invoke name="{}">\n{}</｜DSML｜invoke>\n'
DSML_VALUE = '<｜DSML｜parameter name="{}" string="{}">{}</｜DSML｜parameter>\n'
DSML_TRICKY = "".join(
    DSML_VALUE.format(*each)
    for each in (
        ("city", "true", 'a "</tool_call>" }] \\ é\n'), ("days", "false", "3"),
        ("units", "false", '{"t": ["C", null]}'),
    )
)  # fmt: skip


def json_of(call: tuple[str, dict[str, Any]], key: str = "arguments") -> str:
    return json.dumps({"name": call[0], key: call[1]}, ensure_ascii=False)


OUTPUTS: list[tuple[str, str, str, list[tuple[str, dict[str, Any]]]]] = [
    ("hermes", f"<tool_call>\n{json_of(PARIS)}\n</tool_call>", "", [PARIS]),
    ("hermes", f"Let me look.\n\n<tool_call>\n{json_of(TRICKY)}\n</tool_call>\n<tool_call>\n"
     f"{json_of(('now', {}))}\n</tool_call>\n", "Let me look.", [TRICKY, ("now", {})]),
    ("hermes", f"<tool_call>{json_of(PARIS)}", "", [PARIS]),
    ("hermes", XML, "", [("get_weather", {"city": "Paris", "days": 3, "zip": "75001"})]),
    ("hermes", "<tool_call>\n<function=now>\n</function>\n</tool_call>", "", [("now", {})]),
    ("llama", json_of(PARIS, "parameters"), "", [PARIS]),
    ("llama", "<|python_tag|>" + json_of(PARIS, "parameters") + "; " + json_of(TRICKY), "",
     [PARIS, TRICKY]),
    ("llama", '{"type": "function", "function": {"name": "now", "parameters": {}}}', "",
     [("now", {})]),
    ("mistral", f"[TOOL_CALLS] [{json_of(PARIS)}, {json_of(TRICKY)}]", "", [PARIS, TRICKY]),
    ("mistral", 'Ok. [TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]now[CALL_ID]abc'
     "[ARGS]{}", "Ok.", [PARIS, ("now", {})]),
    ("mistral", '[TOOL_CALLS]get_weather{"city": "Paris"}', "", [PARIS]),
    ("gemma", f"<|tool_call>call:get_weather{{city:{Q}Paris{Q}}}<tool_call|>", "", [PARIS]),
    ("gemma", f"Sure<|tool_call>call:get_weather{{city:{Q}a, <tool_call|> \"}}{Q},days:3,"
     f"units:{{t:[{Q}C{Q},null,true,-1.5]}}}}<tool_call|><|tool_call>call:now{{}}<tool_call|>",
     "Sure", [("get_weather", {"city": 'a, <tool_call|> "}', "days": 3,
                               "units": {"t": ["C", None, True, -1.5]}}), ("now", {})]),
    ("functiongemma", "<start_function_call>call:get_weather{city:<escape>Paris<escape>}"
     "<end_function_call>", "", [PARIS]),
    ("phi", f"<|tool_call|>[{json_of(PARIS)}]<|/tool_call|>", "", [PARIS]),
    ("phi", f"functools[{json_of(TRICKY)}]", "", [TRICKY]),
    ("granite", f"<|tool_call|>[{json_of(PARIS)}, {json_of(TRICKY)}]", "", [PARIS, TRICKY]),
    ("granite", f"<tool_call>[{json_of(PARIS)}]", "", [PARIS]),
    ("deepseek", V3.format(V3_ONE.format("get_weather", '{"city": "Paris"}')), "", [PARIS]),
    ("deepseek", "Hm.\n" + V3.format(
        V31_ONE.format("get_weather", json.dumps(TRICKY[1])) + V31_ONE.format("now", "{}")
     ), "Hm.", [TRICKY, ("now", {})]),
    ("deepseek-v3.1", "Hm.\n" + V3.format(
        V31_ONE.format("get_weather", json.dumps(TRICKY[1])) + V31_ONE.format("now", "{}")
     ), "Hm.", [TRICKY, ("now", {})]),
    ("deepseek-v3.2", "Let me look.\n\n" + DSML.format(
        DSML_ONE.format("get_weather", DSML_TRICKY) + DSML_ONE.format("now", "")
     ), "Let me look.", [TRICKY, ("now", {})]),
    ("llama4", '[get_weather(city="Paris", days=3), now()]', "",
     [("get_weather", {"city": "Paris", "days": 3}), ("now", {})]),
    ("llama4", '<|python_start|>[get_weather(city="Paris")]<|python_end|>', "", [PARIS]),
    ("xml", XML, "", [("get_weather", {"city": "Paris", "days": 3, "zip": "75001"})]),
    ("mistral-args", '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}', "", [PARIS]),
    ("lfm2", '<|tool_call_start|>[get_weather(city="Paris"), now()]<|tool_call_end|>Calling.',
     "Calling.", [PARIS, ("now", {})]),
    ("json", json_of(PARIS), "", [PARIS]),
    ("json", f"```json\n{json_of(TRICKY)}\n```", "", [TRICKY]),
    ("json", f'\n{{"tool_calls": [{json_of(PARIS)}]}}', "", [PARIS]),
    ("json", f"Yes. <tool_call>{json_of(PARIS)}</tool_call>", "Yes.", [PARIS]),
]  # fmt: skip
"""Family, output, text, calls."""


def run(parser: CallParser, parts: Sequence[str]) -> list[Piece]:
    pieces = [piece for part in parts for piece in parser.feed(part)]
    return merged([*pieces, *parser.flush()])


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Text))


def calls_of(pieces: Sequence[Piece]) -> list[tuple[str, Any]]:
    """Name and arguments of each call; each begins with one start, and ids differ."""
    starts = [piece for piece in pieces if isinstance(piece, CallStart)]
    assert [start.index for start in starts] == list(range(len(starts)))
    assert len({start.id for start in starts}) == len(starts)
    return [
        (start.name, json.loads("".join(
            piece.text for piece in pieces
            if isinstance(piece, CallArguments) and piece.index == start.index
        )))
        for start in starts
    ]  # fmt: skip


def split(text: str, places: Sequence[int]) -> list[str]:
    """The text, cut at the places."""
    cuts = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(cuts)]
