"""POST /v1/completions: all forms of prompts, complete and streamed responses."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from fleet_contract.errors import BadRequest
from fleet_server.protocols import ChatModel, Prompt, TextModel

START = 256
HELLO = [START, *b"hello"]


def text_of(body: dict[str, Any]) -> str:
    (choice,) = body["choices"]
    text: str = choice["text"]
    return text


async def collect(live: Any, **fields: Any) -> list[Any]:
    return [event async for event in live.events(**fields)]


async def test_the_response_has_openais_shape(serve: Any) -> None:
    with serve() as live:
        answer = await live.chat(user="me", logprobs=None, suffix=None, best_of=1, n=1)
    assert answer.status_code == 200
    assert answer.headers["x-modelfleet-model"] == "scripted"
    assert float(answer.headers["x-modelfleet-queue-ms"]) >= 0
    body = answer.json()
    assert body.pop("id").startswith("cmpl-")
    assert body.pop("created") > 1_700_000_000
    assert body == {
        "object": "text_completion",
        "model": "scripted",
        "choices": [
            {"text": "Hello, wörld!", "index": 0, "logprobs": None, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 6, "completion_tokens": 14, "total_tokens": 20},
    }


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("hello", HELLO),
        (["hello"], HELLO),
        ([104, 105], [104, 105]),
        ([[104, 105]], [104, 105]),
        ([START], [START]),
        (" ", [START, 32]),
    ],
)
async def test_prompts_reach_the_engine_as_they_are(
    serve: Any, prompt: Any, read: list[int]
) -> None:
    """A text with the special tokens its tokenizer puts around it, token ids with none."""
    with serve() as live:
        body = (await live.chat(prompt=prompt)).json()
        assert live.model.read == [read]
    assert body["usage"]["prompt_tokens"] == len(read)


@pytest.mark.parametrize(
    ("prompt", "echoed"),
    [("hé", "hé"), (["hé"], "hé"), ([START, 104, 0xC3, 0xA9], "<s>hé"), ([[104]], "h")],
)
async def test_an_echo_comes_before_the_text(serve: Any, prompt: Any, echoed: str) -> None:
    with serve() as live:
        body = (await live.chat(prompt=prompt, echo=True, max_tokens=5)).json()
        assert text_of(body) == f"{echoed}Hello"
        *events, _ = await collect(live, prompt=prompt, echo=True, max_tokens=5)
    assert "".join(map(text_of, events)) == f"{echoed}Hello"
    assert text_of(events[0]) == echoed


async def test_the_default_is_sixteen_tokens(serve: Any, scripted: Any) -> None:
    with serve(scripted("x" * 40), defaults={"maxTokens": 30}) as live:
        assert text_of((await live.chat()).json()) == "x" * 16
        assert text_of((await live.chat(max_tokens=20)).json()) == "x" * 20
    with serve(scripted("x" * 40), limits={"maxNewTokens": 10}) as live:
        assert text_of((await live.chat()).json()) == "x" * 10
        assert "at most 10" in (await live.refused(max_tokens=11))["message"]


async def test_parameters_reach_the_engine(serve: Any) -> None:
    with serve(defaults={"temperature": 0.1, "topP": 0.2}) as live:
        await live.chat()
        await live.chat(
            temperature=1.5, top_p=0.5, max_tokens=9, seed=-7, presence_penalty=-1,
            frequency_penalty=0.5,
        )  # fmt: skip
    first, second = live.model.asked
    assert (first.temperature, first.top_p, first.max_tokens, first.seed) == (0.1, 0.2, 16, None)
    assert (second.temperature, second.top_p, second.max_tokens, second.seed) == (
        1.5,
        0.5,
        9,
        2**64 - 7,
    )
    assert (second.presence_penalty, second.frequency_penalty) == (-1, 0.5)


async def test_stop_strings_are_searched_in_generated_text_only(serve: Any) -> None:
    with serve() as live:
        body = (await live.chat(prompt="wör", echo=True, stop="wör")).json()
        assert text_of(body) == "wörHello, "
        assert body["choices"][0]["finish_reason"] == "stop"
        *events, _ = await collect(live, stop=["lo, w"])
    assert "".join(map(text_of, events)) == "Hel"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


async def test_the_stream_has_openais_shape(serve: Any) -> None:
    with serve() as live:
        *chunks, end = await collect(live)
    assert end == "[DONE]"
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
    assert chunks[0]["object"] == "text_completion"
    assert chunks[0]["id"].startswith("cmpl-")
    assert all(set(c) == {"id", "object", "created", "model", "choices"} for c in chunks)
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [*[None] * (len(chunks) - 1), "stop"]
    assert "".join(map(text_of, chunks)) == "Hello, wörld!"


async def test_usage_is_the_last_chunk_when_requested(serve: Any) -> None:
    with serve() as live:
        *chunks, last, end = await collect(live, stream_options={"include_usage": True})
    assert end == "[DONE]"
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 6, "completion_tokens": 14, "total_tokens": 20}
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_the_usage_is_sent_to_the_router_in_a_comment(serve: Any) -> None:
    body = {"prompt": "hello", "stream": True, "max_tokens": 3}
    with serve() as live:
        answer = await live.ask(
            "POST", "/v1/completions", json=body, headers={"x-modelfleet-usage": "1"}
        )
    *_, comment, end = answer.text.split("\n\n")[:-1]
    assert comment.startswith(': usage {"prompt_tokens":6,"completion_tokens":3')
    assert end == "data: [DONE]"


async def test_the_space_before_the_first_word_is_kept(serve: Any, scripted: Any) -> None:
    """Vocabularies of the SentencePiece kind write none where a text begins."""

    class Words(scripted):
        def decode(self, token_ids: Sequence[int]) -> str:
            text: str = super().decode(token_ids)
            return text.removeprefix(" ")

    with serve(Words(" world")) as live:
        assert text_of((await live.chat()).json()) == " world"
        assert text_of((await live.chat(prompt=[START])).json()) == "world"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [""]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a", 5]}, "prompt"),
        ({"prompt": [5, True]}, "prompt"),
        ({"prompt": [5.0]}, "prompt"),
        ({"prompt": [[["a"]]]}, "prompt"),
        ({"prompt": [["a"]]}, "prompt"),
        ({"prompt": [257]}, "prompt"),
        ({"prompt": [5, -1]}, "prompt"),
        ({"prompt": [2**70]}, "prompt"),
        ({"model": 5}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"temperature": True}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"echo": 1}, "echo"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": 3, "best_of": 4}, "best_of"),
        ({"best_of": 2}, "best_of"),
        ({"best_of": "1"}, "best_of"),
        ({"stop": ["a"] * 33}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"seed": "1"}, "seed"),
        ({"suffix": "end"}, "suffix"),
        ({"suffix": 5}, "suffix"),
        ({"suffix": "end", "echo": True}, "echo"),
        ({"logprobs": 0}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"one": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": {"1": True}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {str(number): 0 for number in range(1025)}}, "logit_bias"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"top_k": 40}, "top_k"),
        ({"min_p": 0.1}, "min_p"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
async def test_errors_name_the_field(serve: Any, fields: dict[str, Any], param: str) -> None:
    with serve() as live:
        error = await live.refused(**fields)
        assert live.model.asked == []
        assert live.gauge("modelfleet_in_flight") == 0
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


async def test_a_prompt_is_needed(serve: Any) -> None:
    with serve() as live:
        answer = await live.ask("POST", "/v1/completions", json={"model": "scripted"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "missing"
    assert answer.json()["error"]["param"] == "prompt"


@pytest.mark.parametrize("prompt", ["x" * 12, [5] * 13])
async def test_the_error_for_long_prompts_has_length_and_limit(
    serve: Any, scripted: Any, prompt: Any
) -> None:
    with serve(scripted(context_length=13)) as live:
        error = await live.refused(prompt=prompt)
        assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
        assert "13 tokens; at most 12" in error["message"]
        assert (await live.chat(prompt=prompt[:-1])).json()["usage"]["completion_tokens"] == 1


async def test_too_many_characters_are_not_tokenised(serve: Any) -> None:
    with serve(limits={"maxTextChars": 5}) as live:
        answer = await live.chat(prompt="hello!")
        assert live.model.read == []
    assert answer.status_code == 413
    assert "6 characters; at most 5" in answer.json()["error"]["message"]


async def test_a_text_without_tokens_is_empty(serve: Any, scripted: Any) -> None:
    class Nothing:
        def encode(self, text: str, add_special: bool) -> list[int]:
            return []

    with serve(scripted(vocabulary=Nothing())) as live:
        assert (await live.refused(prompt=" "))["code"] == "empty_input"


async def test_an_engine_may_refuse_tokens(serve: Any, scripted: Any) -> None:
    class Sees(scripted):
        def prompt_of(self, token_ids: Sequence[int]) -> Prompt:
            raise BadRequest("That token stands for an image.", param="prompt")

    with serve(Sees()) as live:
        assert "image" in (await live.refused())["message"]


async def test_a_model_that_can_only_chat_names_the_path(serve: Any, scripted: Any) -> None:
    class Chats:
        """A custom handler that has only the methods of ChatModel."""

        def __init__(self) -> None:
            self._inner = scripted()
            self.context_length, self.max_concurrent = 1000, 2
            self.supports: frozenset[str] = frozenset()
            self.prompt, self.submit = self._inner.prompt, self._inner.submit
            self.decode, self.close = self._inner.decode, self._inner.close

    made: Any = Chats()
    assert isinstance(made, ChatModel)
    assert not isinstance(made, TextModel)
    for model in (made, scripted(vocabulary=None)):
        with serve(model) as live:
            error = await live.refused()
            assert (error["code"], error["param"]) == ("wrong_task", "model")
            assert "/v1/chat/completions" in error["message"]


async def test_an_unknown_model_is_a_404(serve: Any) -> None:
    with serve(aliases=["short"]) as live:
        assert (await live.chat(model="short")).json()["model"] == "scripted"
        assert (await live.chat(model="other")).status_code == 404


async def test_unknown_fields_are_ignored_and_counted(serve: Any) -> None:
    with serve() as live:
        assert (await live.chat(unheard_of=1, messages=[])).status_code == 200
        assert live.gauge("modelfleet_ignored_fields_total") == 2


async def test_a_full_queue_is_a_429(serve: Any, scripted: Any, until: Any) -> None:
    gate = threading.Semaphore(0)
    with serve(scripted("ab", gate=gate, max_concurrent=1), limits={"maxQueueSize": 1}) as live:
        asked = [asyncio.create_task(live.chat()) for _ in range(2)]
        await until(lambda: live.gauge("modelfleet_queue_depth") == 1)
        answer = await live.chat()
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        for _ in range(4):
            gate.release()
        assert [a.status_code for a in await asyncio.gather(*asked)] == [200, 200]
        await live.idle()


async def test_a_failure_during_a_stream_is_an_event_without_end_mark(
    serve: Any, scripted: Any
) -> None:
    gate = threading.Semaphore(1)
    with serve(scripted(gate=gate, fail_after=3)) as live:
        stream = live.events()
        await anext(stream)
        for _ in range(3):
            gate.release()
        events = [event async for event in stream]
        await live.idle()
    assert set(events[-1]["error"]) == {"message", "type", "param", "code"}
    assert "secret" not in str(events)
    assert "[DONE]" not in events


@pytest.mark.parametrize("stream", [True, False])
async def test_a_disconnect_frees_the_engine(
    serve: Any, scripted: Any, until: Any, stream: bool
) -> None:
    with serve(scripted("a" * 500, gate=threading.Semaphore(stream))) as live:
        asking = asyncio.create_task(live.chat(stream=stream, max_tokens=500))
        await until(lambda: live.model.running)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await asyncio.to_thread(live.model.running[0].cancelled.wait, 5)
        await live.idle()


async def test_tokens_are_counted_and_logged(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serve() as live, caplog.at_level(logging.INFO):
        await live.chat()
        await live.idle()
        text = live.server.metrics.render().decode()
    assert 'modelfleet_tokens_total{kind="prompt",model="scripted"} 6.0' in text
    assert 'modelfleet_tokens_total{kind="completion",model="scripted"} 14.0' in text
    assert 'modelfleet_time_to_first_token_seconds_count{model="scripted"} 1.0' in text
    assert 'route="/v1/completions"' in text
    assert "completion" in [record.getMessage() for record in caplog.records]
