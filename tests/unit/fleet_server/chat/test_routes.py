"""POST /v1/chat/completions without streaming."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest


async def test_the_response_has_openais_shape(serve: Any) -> None:
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


async def test_the_response_to_an_alias_has_the_id_of_the_model(serve: Any) -> None:
    with serve(aliases=["short"]) as live:
        answer = await live.chat(model="short")
    assert answer.json()["model"] == "scripted"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_finish_reason_at_the_limit_is_length(serve: Any, name: str) -> None:
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
async def test_stop_strings_end_the_generation(serve: Any, stop: Any, text: str | None) -> None:
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
    assert (second.temperature, second.top_p, second.max_tokens, second.seed) == (
        1.5,
        0.5,
        9,
        2**64 - 7,
    )
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
        ({"n": 17}, "n"),
        ({"n": 0}, "n"),
        ({"top_k": 40}, "top_k"),
        ({"stop": ["a"] * 33}, "stop"),
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
async def test_errors_name_the_field(serve: Any, fields: dict[str, Any], param: str) -> None:
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
    assert sampling.grammar.source == '{"type": "integer"}'


async def test_a_schema_the_engine_refuses_is_a_400(serve: Any, scripted: Any) -> None:
    schema = {"type": "json_schema", "json_schema": {"schema": {"title": "refused"}}}
    with serve(scripted(supports=frozenset({"response_format", "json_schema"}))) as live:
        for stream in (False, True):
            error = await live.refused(response_format=schema, stream=stream)
            assert error["param"] == "response_format.json_schema.schema"
        assert live.model.asked == []
        assert live.gauge("modelfleet_in_flight") == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"stream_options": {"include_usage": None}}, {"response_format": None},
        {"reasoning_effort": None}, {"verbosity": None}, {"audio": None}, {"tools": None},
        {"reasoning_effort": "none"}, {"max_tokens": None}, {"stop": None}, {"seed": None},
    ],
)  # fmt: skip
async def test_no_op_values_are_accepted(serve: Any, fields: dict[str, Any]) -> None:
    with serve() as live:
        assert (await live.chat(**fields)).status_code == 200


EXTREMES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 5e-324}, {"temperature": 0.0, "top_p": 1.0}),
    ({"temperature": 1e-40}, {"temperature": 0.0, "top_p": 1.0}),
    ({"temperature": 1e-5}, {"temperature": 1e-5}),
    ({"temperature": 2, "top_p": 1}, {"temperature": 2, "top_p": 1}),
    ({"top_p": 5e-324}, {"temperature": 0.0, "top_p": 1.0}),
    ({"top_p": 1e-6}, {"temperature": 1.0, "top_p": 1e-6}),
    ({"seed": -1}, {"seed": 2**64 - 1}),
    ({"seed": -(2**63)}, {"seed": 2**63}),
    ({"seed": 2**64 - 1}, {"seed": 2**64 - 1}),
    ({"presence_penalty": -2, "frequency_penalty": 2}, {"presence_penalty": -2}),
    ({"presence_penalty": 5e-324}, {"presence_penalty": 5e-324}),
    ({"max_tokens": 2**53 - 1}, {"max_tokens": 995}),
]


@pytest.mark.parametrize(("fields", "expected"), EXTREMES)
async def test_the_extremes_of_numbers_are_what_engines_can_use(
    serve: Any, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    with serve() as live:
        assert (await live.chat(**fields)).status_code == 200
        (sampling,) = live.model.asked
    assert {name: getattr(sampling, name) for name in expected} == expected


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": []}, {"content": ""}])
async def test_an_assistant_turn_may_have_no_text(serve: Any, content: dict[str, Any]) -> None:
    turn = {"role": "assistant", "tool_calls": None, **content}
    with serve() as live:
        answer = await live.chat(messages=[{"role": "user", "content": "hello"}, turn])
        assert answer.status_code == 200
        assert answer.json()["usage"]["prompt_tokens"] == 5


async def test_max_tokens_is_capped_by_the_context(serve: Any, scripted: Any) -> None:
    with serve(scripted("abcdefghij", context_length=9)) as live:
        answer = (await live.chat(max_tokens=32_000)).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}


async def test_an_operators_bound_on_new_tokens_holds(serve: Any) -> None:
    with serve(limits={"maxNewTokens": 100}) as live:
        assert (await live.chat(max_tokens=100)).status_code == 200
        error = await live.refused(max_tokens=101)
    assert error["param"] == "max_tokens"
    assert "100" in error["message"]


async def test_a_text_beyond_any_context_is_refused_before_it_is_tokenised(
    serve: Any, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(scripted(context_length=100)) as live:
        monkeypatch.setattr(live.model, "prompt", None)
        error = await live.refused(messages=[{"role": "user", "content": "a" * 3201}])
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == "messages"


async def test_prompts_are_built_for_requests_that_run(
    serve: Any, scripted: Any, until: Any
) -> None:
    gate = threading.Semaphore(0)
    built = []
    model = scripted(gate=gate, max_concurrent=1)
    plain = model.prompt
    model.prompt = lambda messages, images: built.append(1) or plain(messages, images)
    with serve(model) as live:
        asked = [asyncio.create_task(live.chat(max_tokens=1)) for _ in range(3)]
        await until(lambda: live.gauge("modelfleet_queue_depth") == 2)
        assert len(built) == 1
        for _ in range(3):
            gate.release()
        await asyncio.gather(*asked)
        assert len(built) == 3


HASHES = ("a" * 16, "b" * 16)


async def test_a_caller_does_not_wait_for_all_of_anothers_requests(
    serve: Any, scripted: Any, until: Any
) -> None:
    """Twenty requests of one caller wait when another caller sends one."""
    gate = threading.Semaphore(0)
    with serve(scripted(gate=gate, max_concurrent=1)) as live:

        async def ask(caller: str) -> None:
            headers = {"x-modelfleet-caller": caller}
            body = {"messages": [{"role": "user", "content": caller}], "max_tokens": 1}
            answer = await live.ask("POST", live.path, json=body, headers=headers)
            assert answer.status_code == 200
            done.append(caller)

        done: list[str] = []
        first = [asyncio.create_task(ask(HASHES[0])) for _ in range(21)]
        await until(lambda: live.gauge("modelfleet_queue_depth") == 20)
        second = asyncio.create_task(ask(HASHES[1]))
        await until(lambda: live.gauge("modelfleet_queue_depth") == 21)
        for _ in range(2):
            gate.release()
        await second
        assert done.count(HASHES[0]) <= 1
        for _ in range(20):
            gate.release()
        await asyncio.gather(*first)


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


async def test_invalid_bodies_are_refused(serve: Any) -> None:
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


async def test_an_adapter_is_selected_by_the_id_of_the_model(serve: Any) -> None:
    adapters = [{"name": "sql", "source": "file:///sql"}]
    with serve(aliases=["short"], adapters=adapters) as live:
        answers = [await live.chat(model=name) for name in ("scripted:sql", "short:sql", "short")]
        unknown = await live.chat(model="scripted:other")
        other = await live.chat(model="someone:else")
        listed = (await live.ask("GET", "/v1/models")).json()["data"]
        one = (await live.ask("GET", "/v1/models/short:sql")).json()
    assert [each.json()["model"] for each in answers] == ["scripted:sql"] * 2 + ["scripted"]
    assert [each.adapter for each in live.model.asked] == ["sql", "sql", None]
    assert (unknown.status_code, unknown.headers["x-modelfleet-absent"]) == (404, "adapter")
    assert other.status_code == 404
    assert "x-modelfleet-absent" not in other.headers
    assert [(each["id"], each["parent"], each["adapters"]) for each in listed] == [
        ("scripted", None, ["scripted:sql"]), ("scripted:sql", "scripted", []),
    ]  # fmt: skip
    memory = ("memory_bytes",)  # measured at each request
    assert {**one, **dict.fromkeys(memory)} == {**listed[1], **dict.fromkeys(memory)}
