"""POST /v1/chat/completions, answered whole."""

from __future__ import annotations

from typing import Any

import pytest


async def test_the_answer_has_openais_shape(serve: Any) -> None:
    with serve() as live:
        answer = await live.chat(user="me", metadata={"a": "b"}, store=False)
    assert answer.status_code == 200
    body = answer.json()
    assert body.pop("id").startswith("chatcmpl-")
    assert body.pop("created") > 1_700_000_000
    assert body == {
        "object": "chat.completion",
        "model": "scripted",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "Hello, wörld!", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 5, "completion_tokens": 14, "total_tokens": 19},
    }  # fmt: skip


async def test_headers_name_model_wait_and_request(serve: Any) -> None:
    with serve() as live:
        answer = await live.ask(
            "POST",
            "/v1/chat/completions",
            json={"model": "scripted", "messages": [{"role": "user", "content": "x"}]},
            headers={"x-request-id": "r-1"},
        )
    assert answer.headers["x-request-id"] == "r-1"
    assert answer.headers["x-modelfleet-model"] == "scripted"
    assert answer.headers["x-modelfleet-cold"] == "false"
    assert float(answer.headers["x-modelfleet-queue-ms"]) >= 0


async def test_an_alias_reaches_the_model_and_is_answered_with_its_id(serve: Any) -> None:
    with serve(aliases=["short"]) as live:
        answer = await live.chat(model="short")
    assert answer.json()["model"] == "scripted"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_length_reached_says_so(serve: Any, name: str) -> None:
    with serve() as live:
        body = (await live.chat(**{name: 5})).json()
    assert body["choices"][0]["message"]["content"] == "Hello"
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 5


async def test_a_length_beyond_the_context_is_cut(serve: Any, scripted: Any) -> None:
    with serve(scripted(context_length=12)) as live:
        body = (await live.chat(max_tokens=2000)).json()
    assert live.model.asked[0].max_tokens == 7
    assert body["choices"][0]["message"]["content"] == "Hello, "
    assert body["choices"][0]["finish_reason"] == "length"


async def test_a_prompt_that_fills_the_context_leaves_one_token(serve: Any, scripted: Any) -> None:
    with serve(scripted(context_length=6)) as live:
        body = (await live.chat()).json()
        assert body["usage"]["completion_tokens"] == 1
        error = await live.refused(messages=[{"role": "user", "content": "hello!"}])
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"
    assert "6 tokens; at most 5" in error["message"]


async def test_the_specs_prompt_limit_counts_too(serve: Any) -> None:
    with serve(limits={"maxPromptTokens": 4}) as live:
        error = await live.refused()
    assert "5 tokens; at most 4" in error["message"]
    assert "1000" in error["message"]


@pytest.mark.parametrize(
    ("stop", "text"),
    [("wö", "Hello, "), (["rl", "Hel"], ""), (["x", "!"], "Hello, wörld"), (["none"], None)],
)
async def test_stop_strings_end_the_answer(serve: Any, stop: Any, text: str | None) -> None:
    with serve() as live:
        body = (await live.chat(stop=stop)).json()
        await live.idle()
    wanted = "Hello, wörld!" if text is None else text
    assert body["choices"][0]["message"]["content"] == wanted
    assert body["choices"][0]["finish_reason"] == "stop"


async def test_stop_wins_over_length_in_the_same_step(serve: Any) -> None:
    with serve() as live:
        body = (await live.chat(stop="ell", max_tokens=4)).json()
    assert body["choices"][0]["message"]["content"] == "H"
    assert body["choices"][0]["finish_reason"] == "stop"


async def test_parameters_reach_the_engine(serve: Any) -> None:
    with serve(defaults={"temperature": 0.1, "topP": 0.2, "maxTokens": 3}) as live:
        await live.chat()
        await live.chat(
            temperature=1.5, top_p=0.5, max_tokens=9, seed=-7, presence_penalty=-1,
            frequency_penalty=0.5, n=1,
        )  # fmt: skip
    first, second = live.model.asked
    assert (first.temperature, first.top_p, first.max_tokens, first.seed) == (0.1, 0.2, 3, None)
    assert (second.temperature, second.top_p, second.max_tokens, second.seed) == (1.5, 0.5, 9, -7)
    assert (second.presence_penalty, second.frequency_penalty) == (-1, 0.5)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"model": 5}, "model"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 2.5}, "max_tokens"),
        ({"temperature": True}, "temperature"),
        ({"top_p": "1"}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"top_k": 40}, "top_k"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"seed": "1"}, "seed"),
        ({"seed": 1e30}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"min_p": 0.1}, "min_p"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": "json"}, "response_format"),
    ],
)
async def test_what_is_wrong_is_named(serve: Any, fields: dict[str, Any], param: str) -> None:
    with serve() as live:
        error = await live.refused(**fields)
        assert live.model.asked == []
        assert live.gauge("modelfleet_in_flight") == 0
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


async def test_a_format_of_another_engine_names_it(serve: Any) -> None:
    with serve() as live:
        error = await live.refused(response_format={"type": "json_object"})
    assert "openvino" in error["message"]
    assert error["code"] == "unsupported_parameter"


async def test_a_schema_needs_an_engine_for_schemas(serve: Any, scripted: Any) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "integer"}}}
    with serve(scripted(supports=frozenset({"response_format"}))) as live:
        error = await live.refused(response_format=schema)
        assert "openvino" in error["message"]
        assert error["param"] == "response_format"
    with serve(scripted(supports=frozenset({"response_format", "json_schema"}))) as live:
        assert (await live.chat(response_format=schema)).status_code == 200
        (sampling,) = live.model.asked
    assert sampling.grammar is not None
    assert sampling.grammar.startswith("root ::= integer")


async def test_an_unknown_model_is_a_404(serve: Any) -> None:
    with serve() as live:
        answer = await live.chat(model="x" * 5000)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert len(error["message"]) < 500


async def test_unknown_fields_are_ignored_and_counted(serve: Any) -> None:
    with serve() as live:
        answer = await live.chat(unheard_of=1, another={"x": []})
        assert answer.status_code == 200
        assert live.gauge("modelfleet_ignored_fields_total") == 2


async def test_bodies_that_are_no_request(serve: Any) -> None:
    with serve() as live:
        for raw in (b"", b"{", b"[]", b"\xff", b'{"model": "scripted"', b"null"):
            answer = await live.ask("POST", "/v1/chat/completions", content=raw)
            assert answer.status_code == 400, raw
            assert answer.json()["error"]["code"] == "invalid_json"


async def test_a_body_beyond_the_limit_is_a_413(serve: Any) -> None:
    with serve(limits={"maxBodyBytes": 500}) as live:
        answer = await live.chat(messages=[{"role": "user", "content": "x" * 600}])
    assert answer.status_code == 413
    assert "500" in answer.json()["error"]["message"]


async def test_tokens_are_counted(serve: Any) -> None:
    with serve() as live:
        await live.chat()
        await live.idle()
        text = live.server.metrics.render().decode()
    assert 'modelfleet_tokens_total{kind="prompt",model="scripted"} 5.0' in text
    assert 'modelfleet_tokens_total{kind="completion",model="scripted"} 14.0' in text
    assert 'modelfleet_time_to_first_token_seconds_count{model="scripted"} 1.0' in text
