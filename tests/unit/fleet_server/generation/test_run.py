"""A prompt becomes a response: bounds, the engine's options, metrics, and what is freed."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request
from starlette.responses import Response

from fleet_contract.errors import BadRequest, InternalError, PromptTooLong
from fleet_contract.names import (
    HEADER_DECODE_MS,
    HEADER_FIRST_TOKEN_MS,
    HEADER_MODEL,
    HEADER_PROMPT_MS,
    HEADER_QUEUE_MS,
    HEADER_USAGE,
)
from fleet_contract.spec import ModelSpec
from fleet_server.engines.guided.elsewhere import SourceFormat
from fleet_server.generation import run, stream
from fleet_server.generation.choices import Choice
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.pieces import text_of
from fleet_server.generation.render import Counts, Renderer, StreamUsage, sse
from fleet_server.generation.run import (
    MOST_CHARS_PER_TOKEN,
    Generator,
    PreparedPrompt,
    usage_wanted,
)
from fleet_server.generation.stream import Update
from fleet_server.generation.timings import Timings
from fleet_server.held_stream import HeldStream
from fleet_server.protocols import Finish, OutputFormat, Prompt, Sampling, Step
from fleet_server.state import ServerState
from support.waiting import until_async

FORMAT = OutputFormat('{"type": "object"}', "response_format")
BROKEN = RuntimeError("the secret text of an engine")


class AtOnce:
    """A model that emits all its steps in one turn of the event loop, and compiles to a pair."""

    max_concurrent = 1

    def __init__(self, *steps: Step, context_length: int = 100) -> None:
        self.context_length = context_length
        self.asked: list[Sampling] = []
        self.compiled: list[OutputFormat] = []
        self.cancelled = 0
        self._steps = steps or (Step(b"Hel"), Step(b"lo", Finish.LENGTH))

    def submit(self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]) -> AtOnce:
        self.asked.append(sampling)
        for step in self._steps:
            emit(step)
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def compile(self, wanted: OutputFormat) -> Any:
        self.compiled.append(wanted)
        return "grammar", wanted

    def decode(self, token_ids: Sequence[int]) -> str:
        return bytes(token_ids).decode("utf-8", "replace")

    def close(self) -> None: ...


class Plain(Renderer):
    """Every event is a JSON string."""

    def whole(self, choices: Sequence[Choice], counts: Counts) -> Any:
        made = [{"text": text_of(each.pieces), "finish": each.finish} for each in choices]
        tokens = {"tokens": counts.completion_tokens}
        return made[0] | tokens if len(made) == 1 else {"choices": made} | tokens

    def opening(self, index: int) -> bytes:
        return sse(f"opened {index}" if index else "opened")

    def update(self, update: Update) -> Iterator[bytes]:
        yield sse(f"{update.index} {update.text}" if update.index else update.text)

    def closing(self, counts: Counts, timings: Timings) -> Iterator[bytes]:
        yield sse("closed")


class Served:
    """A server of one model with a prompt of `num_tokens`."""

    def __init__(self, model: AtOnce, num_tokens: int = 5, **limits: Any) -> None:
        spec = ModelSpec.model_validate({"model": "m", "task": "chat", "limits": limits})
        self.server = ServerState(spec, workers=1, heartbeat=0)
        self.server.set_ready(model)
        self.model = model
        self.prepared = 0
        self._num_tokens = num_tokens
        self._generator = Generator(self.server, name="test", param="messages")

    async def respond(
        self, *, num_chars: int = 1, stream: bool = False, output: OutputFormat | None = None,
        **more: Any,
    ) -> Response:  # fmt: skip
        options = GenerationOptions(1000, 1.0, 1.0, stream=stream, output=output, **more)
        return await self._generator.respond(
            connected(), self.model, options, self._prepare, num_chars=num_chars
        )

    def value(self, name: str, **labels: str) -> float:
        registry = self.server.metrics.registry
        return registry.get_sample_value(f"modelfleet_{name}", {"model": "m", **labels}) or 0.0

    async def _prepare(self, _held: AsyncExitStack) -> PreparedPrompt:
        self.prepared += 1
        assert self.server.admission.running == 1
        return PreparedPrompt((Prompt(self._num_tokens, None),), Plain("id-", "m"))


def connected(**headers: str) -> Request:
    """A request whose client stays."""

    async def receive() -> Any:
        await asyncio.Event().wait()

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw}, receive)


async def events(response: Response) -> list[Any]:
    """The events of a stream, which is closed afterwards."""
    assert isinstance(response, HeldStream)
    sent = b"".join([piece async for piece in response.pieces])
    await response.held.aclose()
    return [json.loads(event.removeprefix(b"data: ")) for event in sent.split(b"\n\n")[:-1]]


async def test_a_whole_response() -> None:
    served = Served(AtOnce())
    response = await served.respond()
    assert json.loads(bytes(response.body)) == {"text": "Hello", "finish": "length", "tokens": 5}
    assert response.headers[HEADER_MODEL] == "m"
    for name in (HEADER_PROMPT_MS, HEADER_FIRST_TOKEN_MS, HEADER_DECODE_MS):
        assert float(response.headers[name]) >= 0
    assert served.model.cancelled == 1
    assert served.server.admission.running == 0


async def test_text_that_ends_at_a_stop_token() -> None:
    response = await Served(AtOnce(Step(b"Hi"), Step((), Finish.STOP))).respond()
    assert json.loads(bytes(response.body)) == {"text": "Hi", "finish": "stop", "tokens": 2}


async def test_a_stream_is_opened_once_and_closed_once() -> None:
    served = Served(AtOnce())
    response = await served.respond(stream=True)
    assert (response.headers[HEADER_MODEL], response.headers["cache-control"]) == ("m", "no-cache")
    assert served.server.admission.running == 1
    assert await events(response) == ["opened", "Hello", "closed"]
    assert served.model.cancelled == 1
    assert served.server.admission.running == 0


async def test_an_error_during_a_stream_is_its_last_event() -> None:
    served = Served(AtOnce(Step(b"Hel"), Step((), error=BROKEN)))
    opened, text, failure = await events(await served.respond(stream=True))
    assert (opened, text) == ("opened", "Hel")
    assert failure["error"]["type"] == InternalError("").body()["error"]["type"]
    assert "secret" not in str(failure)
    assert served.server.admission.running == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_first_token_is_raised(stream: bool) -> None:
    served = Served(AtOnce(Step((), error=BROKEN)))
    with pytest.raises(InternalError):
        await served.respond(stream=stream)
    assert served.model.cancelled == 1
    assert served.server.admission.running == 0


@pytest.mark.parametrize(
    ("limit", "num_tokens", "left"),
    [(None, 9, 1), (None, 1, 9), (4, 4, 6), (99, 9, 1)],
)
async def test_the_context_left_after_the_prompt(
    limit: int | None, num_tokens: int, left: int
) -> None:
    served = Served(AtOnce(context_length=10), num_tokens, maxPromptTokens=limit)
    await served.respond()
    assert served.model.asked[0].max_tokens == left


@pytest.mark.parametrize(("limit", "num_tokens", "most"), [(None, 10, 9), (4, 5, 4), (99, 10, 9)])
async def test_a_prompt_of_too_many_tokens(limit: int | None, num_tokens: int, most: int) -> None:
    served = Served(AtOnce(context_length=10), num_tokens, maxPromptTokens=limit)
    words = rf"{num_tokens} tokens; at most {most} are .*context is 10 tokens"
    with pytest.raises(PromptTooLong, match=words) as caught:
        await served.respond()
    assert caught.value.param == "messages"
    assert served.model.asked == []
    assert served.server.admission.running == 0


async def test_a_text_too_long_for_the_context_is_not_prepared() -> None:
    served = Served(AtOnce(context_length=10))
    longest = 10 * MOST_CHARS_PER_TOKEN
    assert longest == 320
    await served.respond(num_chars=longest)
    assert served.prepared == 1
    words = rf"{longest + 1} characters; at most {longest} are .*context is 10 tokens"
    with pytest.raises(PromptTooLong, match=words) as caught:
        await served.respond(num_chars=longest + 1)
    assert caught.value.param == "messages"
    assert served.prepared == 1


async def test_a_format_is_compiled_for_the_engine() -> None:
    served = Served(AtOnce())
    await served.respond()
    assert (served.model.compiled, served.model.asked[0].grammar) == ([], None)
    await served.respond(output=FORMAT)
    assert served.model.compiled == [FORMAT]
    assert served.model.asked[1].grammar == ("grammar", FORMAT)


async def test_choices_may_be_too_many_for_a_format(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(AtOnce())
    compiled = SourceFormat("start: /a/", (), "response_format", most_sequences=3)
    monkeypatch.setattr(served.model, "compile", lambda _: compiled)
    await served.respond(output=FORMAT, n=3)
    with pytest.raises(BadRequest, match="for 4 choices; at most 3") as caught:
        await served.respond(output=FORMAT, n=4)
    assert (caught.value.param, caught.value.code) == ("response_format", "schema_too_expensive")


async def test_tokens_and_times_are_counted() -> None:
    served = Served(AtOnce())
    began = time.monotonic()
    await served.respond()
    taken = time.monotonic() - began
    assert served.value("tokens_total", kind="prompt") == 5
    assert served.value("tokens_total", kind="completion") == 5
    assert served.value("time_to_first_token_seconds_count") == 1
    assert 0 <= served.value("time_to_first_token_seconds_sum") <= taken
    assert served.value("queue_seconds_count") == 1
    assert 0 <= served.value("queue_seconds_sum") <= taken


async def test_the_wait_for_a_slot_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(AtOnce())
    now = 100.0
    monkeypatch.setattr(served.server.admission, "_clock", lambda: now)
    async with served.server.admission.slot("another"):
        waiting = asyncio.create_task(served.respond())
        await until_async(lambda: served.server.admission.waiting)
        now += 2.0
    response = await waiting
    assert response.headers[HEADER_QUEUE_MS] == "2000.0"
    assert served.value("queue_seconds_sum") == 2.0


async def test_the_log_has_counts_and_times(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, run.__name__)
    times = iter((100.0, 101.5, 102.00004))
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: next(times)))
    monkeypatch.setattr(stream, "time", SimpleNamespace(monotonic=lambda: 101.23456))
    served = Served(AtOnce())
    await served.respond()
    (line,) = [record.__dict__ for record in caplog.records]
    assert line["msg"] == "test"
    assert line["fields"].pop("queue_ms") >= 0
    assert line["fields"] == {
        "prompt_tokens": 5, "completion_tokens": 5, "first_token_ms": 1234.6, "ms": 2000.0,
    }  # fmt: skip
    assert served.value("time_to_first_token_seconds_sum") == pytest.approx(1.23456)


async def test_a_response_without_tokens_has_no_time_to_the_first() -> None:
    served = Served(AtOnce(Step((), Finish.STOP)))
    await served.respond()
    assert served.value("tokens_total", kind="prompt") == 5
    assert served.value("tokens_total", kind="completion") == 0
    assert served.value("time_to_first_token_seconds_count") == 0


async def test_tokens_of_a_stream_that_is_left_are_counted() -> None:
    served = Served(AtOnce(Step(b"Hel")))
    response = await served.respond(stream=True)
    assert isinstance(response, HeldStream)
    await response.held.aclose()
    assert served.value("tokens_total", kind="completion") == 3


@pytest.mark.parametrize("wanted", [False, True])
def test_routers_want_the_usage_as_a_comment(wanted: bool) -> None:
    request = connected(**({HEADER_USAGE: "1"} if wanted else {}))
    plain = GenerationOptions(1, 1, 1)
    assert usage_wanted(request, plain) == StreamUsage(as_comment=wanted)
    given = replace(plain, include_usage=True, continuous_usage=True)
    assert usage_wanted(request, given) == StreamUsage(True, True, wanted)


async def test_an_error_of_a_stream_that_is_open_already_has_the_form_of_its_route() -> None:
    """A silent stream is opened before its prompt is prepared."""
    served = Served(AtOnce(context_length=10))
    served.server.heartbeat = 0.001
    opened = asyncio.Event()

    async def prepare(_held: AsyncExitStack) -> PreparedPrompt:
        await opened.wait()
        return PreparedPrompt((Prompt(11, None),), Plain("id-", "m"))

    response = await Generator(served.server, name="test", param="messages").respond(
        connected(), served.model, GenerationOptions(1000, 1.0, 1.0, stream=True), prepare,
        num_chars=1, failure=lambda error: sse({"own": error.code}),
    )  # fmt: skip
    opened.set()
    assert isinstance(response, HeldStream)
    *comments, last = [piece async for piece in response.pieces]
    assert all(comment.startswith(b":") for comment in comments)
    assert last == sse({"own": PromptTooLong.default_code})
