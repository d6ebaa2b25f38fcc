from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.errors import BadRequest, TooLarge, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_server.chat.request import parse
from fleet_server.generation.parameters import CHAT
from fleet_server.metrics import Metrics

SPEC = ModelSpec.model_validate(
    {
        "model": "org/small",
        "defaults": {"temperature": 0.3, "topP": 0.8, "maxTokens": 77},
        "limits": {"maxNewTokens": 100, "maxTextChars": 50},
    }
)
HELLO = [{"role": "user", "content": "hello"}]


def body(**more: Any) -> dict[str, Any]:
    return {"model": "org/small", "messages": HELLO, **more}


def test_the_models_defaults_fill_what_is_left_out() -> None:
    asked = parse(body(), SPEC).options
    assert (asked.temperature, asked.top_p, asked.max_tokens) == (0.3, 0.8, 77)
    assert not asked.stream


def test_the_request_wins_over_the_defaults() -> None:
    asked = parse(body(temperature=0, top_p=1, max_tokens=5, stop="x", seed=3), SPEC).options
    assert (asked.temperature, asked.top_p, asked.max_tokens) == (0, 1, 5)
    assert asked.stop == ("x",)
    assert asked.sampling(most=2).max_tokens == 2


def test_max_completion_tokens_wins_over_max_tokens() -> None:
    assert parse(body(max_tokens=5, max_completion_tokens=6), SPEC).options.max_tokens == 6


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 101}, "max_tokens"),
        ({"max_completion_tokens": 101}, "max_completion_tokens"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": "no"}}, "stream_options.include_usage"),
        ({"n": 17}, "n"),
        ({"n": "1"}, "n"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["a"] * 33}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"stop": "x" * 4097}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": []}}},
         "response_format.json_schema.schema"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "a"}] * 10_001}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]},
         "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]},
         "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
         "messages[0].content[0]"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
    ],
)  # fmt: skip
def test_errors_for_wrong_values_name_the_field(more: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(body(**more), SPEC)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_missing_fields_are_named() -> None:
    with pytest.raises(BadRequest, match="messages") as caught:
        parse({"model": "org/small"}, SPEC)
    assert caught.value.param == "messages"


def test_too_many_characters() -> None:
    with pytest.raises(TooLarge, match="51 characters; at most 50"):
        parse(body(messages=[{"role": "user", "content": "x" * 51}]), SPEC)


def test_images_are_collected_in_order_for_a_vision_model() -> None:
    spec = SPEC.model_copy(update={"vision": True})
    parts = [
        {"type": "image_url", "image_url": {"url": "data:a"}},
        {"type": "text", "text": "and"},
        {"type": "image_url", "image_url": {"url": "data:b", "detail": "low"}},
    ]
    asked = parse(body(messages=[{"role": "user", "content": parts}]), spec)
    assert asked.image_urls == ["data:a", "data:b"]
    assert [part["type"] for part in asked.messages[0]["content"]] == ["image", "text", "image"]


def test_developer_is_read_as_system() -> None:
    asked = parse(body(messages=[{"role": "developer", "content": "be brief"}, *HELLO]), SPEC)
    assert [message["role"] for message in asked.messages] == ["system", "user"]


def test_top_k_is_refused() -> None:
    with pytest.raises(BadRequest, match="top_p") as caught:
        CHAT.refuse_unsupported(body(top_k=5), frozenset())
    assert caught.value.param == "top_k"


@pytest.mark.parametrize("name", ["logprobs", "tools", "logit_bias"])
def test_the_error_for_an_unsupported_field_names_an_engine_with_it(name: str) -> None:
    value = {"tools": [{"type": "function"}], "logit_bias": {"5": 1}}
    with pytest.raises(BadRequest, match="vllm") as caught:
        CHAT.refuse_unsupported(body(**{name: value.get(name, True)}), frozenset())
    assert caught.value.param == name


@pytest.mark.parametrize(
    "more",
    [{"logprobs": False}, {"tools": []}, {"logit_bias": None}, {"tool_choice": "none"},
     {"presence_penalty": 0}, {"response_format": {"type": "text"}}, {"seed": None}],
)  # fmt: skip
def test_no_op_values_are_accepted(more: dict[str, Any]) -> None:
    CHAT.refuse_unsupported(body(**more), frozenset())


def test_the_error_names_other_engines_that_support_the_field() -> None:
    with pytest.raises(BadRequest, match="openvino, llamacpp, torch"):
        CHAT.refuse_unsupported(body(seed=5), frozenset())
    CHAT.refuse_unsupported(body(seed=5), frozenset({"seed"}))


def test_unknown_fields_are_counted_not_refused() -> None:
    metrics = Metrics("m")
    CHAT.check(body(foo=1, bar=2, user="u"), frozenset(), metrics)
    assert b'modelfleet_ignored_fields_total{model="m"} 2.0' in metrics.render()


@pytest.mark.parametrize("name", ["maxTokens", "max-tokens", "responseFormat", "Messages"])
def test_other_spellings_of_parameters_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedParameter, match=f"Unknown field '{name}'; use '"):
        CHAT.check(body(**{name: 1}), frozenset(), Metrics("m"))
