"""/tokenize and /apply-template of conversations, on a chat model with a small vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fleet_server.engines.chat_template import ChatTemplate
from fleet_server.engines.special_text import SEAM, SpecialText
from fleet_server.engines.text_chat import rendered
from fleet_server.protocols import NO_ARGUMENTS, Prompt, TemplateArguments
from support.scripted_chat import ScriptedChat, Serve, serving

SOURCE = (
    "{% if tools %}{{ tools[0].function.name }}:{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
HELLO = [{"role": "user", "content": "hé <s>"}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@dataclass
class Templated(ScriptedChat):
    """A chat model with a template, whose tokens are bytes."""

    supports: frozenset[str] = frozenset({"tools"})
    chat_template: str = SOURCE

    def prompt(
        self, messages: Sequence[Any], images: Sequence[Any],
        arguments: TemplateArguments = NO_ARGUMENTS,
    ) -> Prompt:  # fmt: skip
        ids = list(self.render(messages, arguments).replace(SEAM, "").encode())
        return replace(self.prompt_of(ids), token_ids=ids)

    def render(self, messages: Sequence[Any], arguments: TemplateArguments) -> str:
        template = ChatTemplate(SOURCE, {})
        return rendered(template, SpecialText(["<s>"]), messages, (), arguments)


@pytest.fixture
def serve(listen: Any) -> Serve:
    return serving(listen, "/apply-template")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "<user>hé <s><assistant>"),
        ({"add_generation_prompt": False}, "<user>hé <s>"),
        ({"tools": TOOLS}, "f:<user>hé <s><assistant>"),
        ({"tools": TOOLS, "tool_choice": "none"}, "<user>hé <s><assistant>"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "So "}],
          "continue_final_message": True}, "<user>hé <s><assistant>So "),
    ],
)  # fmt: skip
async def test_the_text_and_its_tokens(serve: Any, fields: Any, expected: str) -> None:
    body = {"model": "scripted", "messages": HELLO} | fields
    with serve(Templated()) as live:
        text = await live.ask("POST", "/apply-template", json=body | {"temperature": 0.5})
        tokens = await live.ask("POST", "/tokenize", json=body | {"return_token_strs": True})
        plain = await live.ask("POST", "/tokenize", json=body)
    assert text.json() == {"prompt": expected}
    raw = expected.encode()
    assert tokens.json() == {
        "count": len(raw), "max_model_len": 1000, "tokens": list(raw),
        "token_strs": [bytes([each]).decode("utf-8", "replace") for each in raw],
    }  # fmt: skip
    assert plain.json()["token_strs"] is None


async def test_a_chat_without_its_generation(serve: Any) -> None:
    path = "/v1/chat/completions/render"
    body = {"model": "scripted", "messages": HELLO, "max_tokens": 30}
    with serve(Templated()) as live:
        found = await live.ask("POST", path, json=body)
        rest = await live.ask("POST", path, json=body | {"max_tokens": 5000})
        for fields, param in (
            ({"temperature": 5}, "temperature"),
            ({"logprobs": True}, "logprobs"),
            ({"tool_choice": "required"}, "tool_choice"),
            ({"messages": [{"role": "user", "content": "x" * 1001}]}, "messages"),
        ):
            refused = await live.ask("POST", path, json=body | fields)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    raw = b"<user>h\xc3\xa9 <s><assistant>"
    assert found.json() == {
        "object": "chat.completion.prompt", "model": "scripted", "prompt": raw.decode(),
        "token_ids": list(raw), "prompt_tokens": len(raw), "max_tokens": 30, "max_model_len": 1000,
    }  # fmt: skip
    assert rest.json()["max_tokens"] == 1000 - len(raw)


@pytest.mark.parametrize("path", ["/apply-template", "/tokenize", "/v1/chat/completions/render"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"messages": [{"role": "user", "content": "x" * 40_000}]}, "messages"),
    ],
)
async def test_errors_name_the_place(serve: Any, path: str, fields: Any, param: str) -> None:
    with serve(Templated()) as live:
        answer = await live.ask("POST", path, json={"messages": HELLO} | fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_engines_without_a_template_refuse(serve: Any) -> None:
    with serve(ScriptedChat()) as live:
        text = await live.ask("POST", "/apply-template", json={"messages": HELLO})
        tokens = await live.ask("POST", "/tokenize", json={"messages": HELLO})
        dry = await live.ask("POST", "/v1/chat/completions/render", json={"messages": HELLO})
    for answer in (text, tokens, dry):
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "unsupported_parameter"


async def test_a_text_is_tokenized_as_ever(serve: Any) -> None:
    with serve(Templated()) as live:
        answer = await live.ask("POST", "/tokenize", json={"content": "ab"})
    assert answer.json() == {"tokens": [97, 98]}


async def test_models_of_other_tasks_have_no_template(serve: Any) -> None:
    with serve(task="embedding") as live:
        text = await live.ask("POST", "/apply-template", json={"messages": HELLO})
        tokens = await live.ask("POST", "/tokenize", json={"messages": HELLO})
    for answer in (text, tokens):
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "wrong_task")
