"""Guided generation and tools in the torch engine, on a tiny random Llama that writes nonsense."""

from __future__ import annotations

import json
import queue
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_server.engines.torch import TorchChat
from fleet_server.generation.tool_parsers import families
from fleet_server.generation.tools import CHAT_TOOLS, read_tools
from fleet_server.protocols import (
    FormatKind,
    OutputFormat,
    Prompt,
    ReasoningBudget,
    Sampling,
    Step,
    TemplateArguments,
)

HELLO = [{"role": "user", "content": "fox"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"unit": {"enum": ["C", "F"]}, "days": {"type": "integer", "maximum": 9}},
            "required": ["unit", "days"],
        },
    },
}


@pytest.fixture(scope="module")
def engine(tiny_chat: Callable[[str], Path]) -> Iterator[TorchChat]:
    spec = ModelSpec.model_validate({"model": "tiny", "dtype": "float32"})
    made = TorchChat(spec, tiny_chat("llama"), 1)
    yield made
    made.close()


def text_of(engine: TorchChat, prompt: Prompt, sampling: Sampling) -> str:
    steps: queue.Queue[Step] = queue.Queue()
    engine.submit(prompt, sampling, steps.put)
    ids: list[int] = []
    while True:
        step = steps.get(timeout=180)
        assert step.error is None
        ids.extend(step.token_ids)
        if step.finish is not None:
            return engine.decode(ids)


@pytest.mark.parametrize("seed", range(6))
def test_a_required_call_follows_the_schema(engine: TorchChat, seed: int) -> None:
    assert {"tools", "response_format", "json_schema"} <= engine.supports
    grammar = engine.compile(read_tools([TOOL], "required", False, CHAT_TOOLS).forced())
    sampling = Sampling(200, temperature=1.0 if seed else 0.0, seed=seed, grammar=grammar)
    call = json.loads(text_of(engine, engine.prompt(HELLO, []), sampling))
    assert call["name"] == "get_weather"
    assert call["arguments"]["unit"] in ("C", "F")
    assert call["arguments"]["days"] <= 9


def test_calls_of_strict_tools_and_patterns(engine: TorchChat) -> None:
    strict = {**TOOL, "function": {**TOOL["function"], "strict": True}}
    tools = read_tools([strict], "auto", None, CHAT_TOOLS)
    wanted = tools.optional(families.HERMES, (), OutputFormat('{"const": 5}', "p"))
    assert wanted is not None
    sampling = Sampling(200, seed=1, grammar=engine.compile(wanted))
    text = text_of(engine, engine.prompt(HELLO, []), sampling)
    if text != "5":
        calls = re.findall("<tool_call>\\s*(.*?)\\s*</tool_call>", text, re.DOTALL)
        assert all(json.loads(call)["arguments"]["unit"] in ("C", "F") for call in calls)
        assert calls
    pattern = engine.compile(OutputFormat("[a-c]{3}-[0-9]", "p", FormatKind.REGEX))
    text = text_of(engine, engine.prompt(HELLO, []), Sampling(20, seed=2, grammar=pattern))
    assert re.fullmatch("[a-c]{3}-[0-9]", text)


@pytest.mark.parametrize("seed", range(2))
def test_a_bound_on_the_reasoning_before_strict_tools(engine: TorchChat, seed: int) -> None:
    strict = {**TOOL, "function": {**TOOL["function"], "strict": True}}
    marks = ("<think>", "</think>")
    wanted = read_tools([strict], "auto", None, CHAT_TOOLS).optional(families.HERMES, marks, None)
    assert wanted is not None
    sampling = Sampling(
        30, seed=seed, grammar=engine.compile(wanted),
        reasoning=ReasoningBudget(4, *marks, is_open=True),
    )  # fmt: skip
    before, close, _ = text_of(engine, engine.prompt(HELLO, []), sampling).partition("</think>")
    assert close
    assert len(before) < 60


def test_other_sequences_of_the_batch_are_free(engine: TorchChat) -> None:
    prompt = engine.prompt(HELLO, [])
    alone = text_of(engine, prompt, Sampling(20, temperature=0))
    grammar = engine.compile(OutputFormat('{"enum": ["a", "b"]}', "x"))
    steps: queue.Queue[Step] = queue.Queue()
    engine.submit(prompt, Sampling(20, temperature=0, grammar=grammar), steps.put)
    assert text_of(engine, prompt, Sampling(20, temperature=0)) == alone


def test_a_schema_that_is_not_supported_is_refused(engine: TorchChat) -> None:
    with pytest.raises(BadRequest) as caught:
        engine.compile(OutputFormat('{"not": {}}', "tools", strict=True))
    assert caught.value.param == "tools"


def test_the_template_gets_tools_and_variables(
    tmp_path: Path, tiny_chat: Callable[[str], Path]
) -> None:
    for path in tiny_chat("llama").iterdir():
        (tmp_path / path.name).symlink_to(path)
    template = (
        "{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}{{ enable_thinking }}"
        "{% for m in messages %}{% for c in m.tool_calls or [] %}"
        "{{ c.function.arguments | tojson }}{% endfor %}{{ m.content }}{% endfor %}<think>"
    )
    file = tmp_path / "chat_template.jinja"
    file.unlink(missing_ok=True)
    file.write_text(template)
    made = TorchChat(ModelSpec.model_validate({"model": "tiny", "dtype": "float32"}), tmp_path, 1)
    try:
        calls: Any = [{"id": "1", "function": {"name": "f", "arguments": {"a": "<|im_end|>"}}}]
        turn = {"role": "assistant", "content": "", "tool_calls": calls}
        arguments = TemplateArguments([TOOL], {"enable_thinking": False})
        prompt = made.prompt([*HELLO, turn], [], arguments)
    finally:
        made.close()
    assert made.chat_template == template
    assert prompt.ending == 'get_weatherFalsefox{"a": "<\ufdd0|im_end|>"}<think>'
    text = made.vocabulary.decode(prompt.state.token_ids)  # type: ignore[union-attr]
    assert text == 'get_weatherFalsefox{"a": "<|im_end|>"}<think>'
    special = made.vocabulary.encode("<|im_end|>", False)  # type: ignore[union-attr]
    assert special[0] not in prompt.state.token_ids
