"""Which parameters an engine takes, and which of them are without effect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from fleet_contract.api.responses import NO_OP_VALUES, ResponsesBody
from fleet_contract.errors import UnsupportedParameter
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.parameters import (
    CHAT,
    SUPPORTING_ENGINES,
    Parameters,
    check_prompt_logprobs,
    with_calls,
)
from fleet_server.generation.tools import Tool, ToolUse
from fleet_server.metrics import Metrics
from fleet_server.protocols import FormatKind, OutputFormat

ALL = frozenset({*SUPPORTING_ENGINES, "json_schema"})
NONE: frozenset[str] = frozenset()
RESPONSES = Parameters(ResponsesBody, NO_OP_VALUES)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"seed": None, "top_k": None},
        {"presence_penalty": 0, "frequency_penalty": 0.0},
        {"response_format": {"type": "text"}},
        {"response_format": None, "tools": [], "logprobs": False},
    ],
)
def test_what_has_no_effect_is_accepted_by_every_engine(body: dict[str, Any]) -> None:
    CHAT.refuse_unsupported(body, NONE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 0),
        ("presence_penalty", 0.1),
        ("frequency_penalty", False),
        ("logit_bias", {"1": 1}),
        ("logprobs", True),
        ("logprobs", 0),
        ("top_k", 40),
        ("min_p", 0.1),
        ("repetition_penalty", 1.1),
    ],
)
def test_what_only_some_engines_support(name: str, value: Any) -> None:
    CHAT.refuse_unsupported({name: value}, ALL, extra=True)
    with pytest.raises(UnsupportedParameter, match="engines that support it: openvino") as caught:
        CHAT.refuse_unsupported({name: value}, ALL - {name}, extra=True)
    assert caught.value.param == name


def test_probabilities_are_refused_where_guesses_have_none() -> None:
    """An engine of the list may not support them with every spec."""
    with pytest.raises(UnsupportedParameter, match=r"llamacpp \(without 'speculative'\), torch"):
        CHAT.refuse_unsupported({"logprobs": True}, ALL - {"logprobs"})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"top_k": 0}, "use 'top_p', or allow it on the server .limits.extraSampling"),
        ({"min_p": 0.1}, "EXTRA_SAMPLING=1"),
        ({"repetition_penalty": 1.1}, "not a parameter of the OpenAI API"),
    ],
)
def test_what_openai_does_not_have_is_refused_by_default(body: dict[str, Any], words: str) -> None:
    CHAT.refuse_unsupported(body, ALL, extra=True)
    for parameters, extra in ((CHAT, False), (RESPONSES, True)):
        with pytest.raises(UnsupportedParameter) as caught:
            parameters.refuse_unsupported(body, ALL, extra=extra)
        assert caught.value.param in body
    with pytest.raises(UnsupportedParameter, match=words):
        CHAT.refuse_unsupported(body, ALL)


def test_the_values_without_effect_of_other_parameters_are_accepted() -> None:
    CHAT.refuse_unsupported({"min_p": 0, "repetition_penalty": 1.0, "logit_bias": {}}, NONE)
    CHAT.refuse_unsupported({"top_k": -1}, NONE, extra=True)


def test_the_probabilities_of_a_prompt_need_an_engine_that_has_them() -> None:
    check_prompt_logprobs(frozenset({"prompt_logprobs"}))
    with pytest.raises(UnsupportedParameter, match="torch") as caught:
        check_prompt_logprobs(ALL)
    assert caught.value.param == "echo"


@pytest.mark.parametrize("body", [{"functions": [{}]}])
def test_what_no_engine_supports(body: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        CHAT.refuse_unsupported(body, ALL)
    assert caught.value.param in body


@pytest.mark.parametrize(
    "body",
    [{"tools": [{}]}, {"tool_choice": "required"}, {"chat_template_kwargs": {"a": 1}}],
)
def test_tools_need_an_engine_with_a_chat_template(body: dict[str, Any]) -> None:
    CHAT.refuse_unsupported(body, ALL | {"tools"})
    with pytest.raises(UnsupportedParameter, match="openvino, llamacpp, torch, vllm") as caught:
        CHAT.refuse_unsupported(body, ALL)
    assert caught.value.param in body


@dataclass
class Model:
    supports: frozenset[str]
    chat_template: str = ""


def combined(options: GenerationOptions, supports: Any, template: str = "") -> GenerationOptions:
    model: Any = Model(frozenset(supports), template)
    return with_calls(options, model)


TOOL = Tool("f", {"name": "f", "parameters": {"type": "object", "properties": {}}}, "tools[0]")
PLAIN = GenerationOptions(5, 1, 1)
FORMATTED = replace(PLAIN, output=OutputFormat("{}", "response_format.json_schema.schema"))
MAY, MUST = (
    replace(PLAIN, tools=ToolUse((TOOL,))),
    replace(PLAIN, tools=ToolUse((TOOL,), (TOOL,))),
)
STRICT = replace(PLAIN, tools=ToolUse((replace(TOOL, strict=True),)))
GRAMMAR = ALL | {"grammar", "json_schema"}


def test_a_call_is_enforced_by_engines_with_grammars() -> None:
    assert combined(FORMATTED, GRAMMAR) == FORMATTED
    assert combined(MAY, NONE) == MAY
    found = combined(MUST, GRAMMAR).output
    assert found is not None
    assert '"{\\"name\\": \\"f\\"' in found.source
    assert (found.kind, found.free) == (FormatKind.CALLS, False)
    assert [part.param for part in found.parts] == ["tools[0]"]
    with pytest.raises(UnsupportedParameter, match="openvino, llamacpp, torch, vllm") as caught:
        combined(MUST, ALL)
    assert caught.value.param == "tool_choice"


def test_arguments_of_strict_tools_are_enforced_by_engines_with_grammars() -> None:
    found = combined(STRICT, GRAMMAR)
    assert found.output is not None
    assert found.output.free
    assert found.unenforced == ()
    found = combined(STRICT, GRAMMAR, "{{ tools }}<|tool_call>")
    assert found.output is not None
    assert "call:f" in found.output.source
    found = combined(STRICT, ALL)
    assert (found.output, found.unenforced) == (None, ("strict",))


def test_a_format_besides_calls() -> None:
    both = replace(FORMATTED, tools=MAY.tools)
    found = combined(both, GRAMMAR).output
    assert found is not None
    assert not found.free
    assert [part.source for part in found.parts] == ['{"type": "object"}', "{}"]
    pattern = OutputFormat("a", "structured_outputs.regex", FormatKind.REGEX)
    with pytest.raises(UnsupportedParameter, match="cannot be combined") as caught:
        combined(replace(both, output=pattern), GRAMMAR)
    assert caught.value.param == "structured_outputs"
    must = replace(FORMATTED, tools=MUST.tools)
    assert combined(must, GRAMMAR).output == combined(MUST, GRAMMAR).output


@pytest.mark.parametrize("more", [{}, {"other": 1}, {"other": 1, "another": 2}])
def test_only_unknown_fields_are_counted(more: dict[str, int]) -> None:
    known = {"messages": [], "store": True, "metadata": {}, "tools": [], "top_k": None}
    metrics = Metrics("m")
    CHAT.check({**known, **more}, ALL, metrics)
    counted = b'modelfleet_ignored_fields_total{model="m"} %.1f' % len(more)
    assert (counted in metrics.render()) is bool(more)
    assert (b"ignored_fields_total{" in metrics.render()) is bool(more)
