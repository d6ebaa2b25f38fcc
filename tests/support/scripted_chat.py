"""A fake chat model with a fixed text behind the real app, on a socket."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest

from fleet_contract.errors import BadRequest
from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.protocols import (
    NO_ARGUMENTS,
    ChatModel,
    Finish,
    OutputFormat,
    Prompt,
    Sampling,
    Step,
    TemplateArguments,
    TokenLogprobs,
)
from fleet_server.state import ServerState
from fleet_web.tracing import Tracing
from support.waiting import until_async

CHAT = "/v1/chat/completions"
HELLO: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]},
}


class Running:
    def __init__(
        self,
        model: ScriptedChat,
        prompt: Prompt,
        sampling: Sampling,
        emit: Callable[[Step], None],
    ) -> None:
        self._model = model
        self._prompt = prompt
        self._sampling = sampling
        self._emit = emit
        self.cancelled = threading.Event()
        self._ended = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def cancel(self) -> None:
        self.cancelled.set()
        # Not once it has ended: every request is cancelled at its end, and the next one waits.
        if self._model.gate is not None and not self._ended:
            self._model.gate.release()

    def _run(self) -> None:
        model, most = self._model, self._sampling.max_tokens
        for number, byte in enumerate(model.text.encode()):
            if model.gate is not None:
                model.gate.acquire()
            if self.cancelled.is_set():
                return
            if model.fail_after is not None and number == model.fail_after:
                self._ended = True
                self._emit(Step((), error=RuntimeError("the secret text of an engine")))
                return
            last = number + 1 == most
            self._ended = last
            finish = Finish.LENGTH if last else None
            prompt = self._prompt_scores() if number == 0 else ()
            self._emit(Step([byte], finish, logprobs=self._scores(byte), prompt_logprobs=prompt))
            if last:
                return
        self._ended = True
        self._emit(Step((), Finish.STOP))

    def _prompt_scores(self) -> list[TokenLogprobs]:
        if not self._sampling.prompt_logprobs:
            return []
        return [TokenLogprobs(token, math.log(0.5)) for token in self._prompt.state[1:]]

    def _scores(self, byte: int) -> list[TokenLogprobs]:
        """Every token has the probability of one half, and `x` that of one quarter."""
        if self._sampling.logprobs is None:
            return []
        top = [(byte, math.log(0.5)), (ord("x"), math.log(0.25))]
        return [TokenLogprobs(byte, math.log(0.5), top[: self._sampling.logprobs])]


class Bytes:
    """A Vocabulary in which every token is a byte, except one that starts a text."""

    size = 257

    def encode(self, text: str, add_special: bool, parse_special: bool = True) -> list[int]:
        return [256] * add_special + list(text.encode())

    def encode_parts(
        self, parts: Sequence[str], add_special: bool, parse_special: bool = True
    ) -> list[int]:
        each = [self.encode(part, False, parse_special) for part in parts]
        return [256] * add_special + [token for part in each for token in part]

    def decode(self, token_ids: Sequence[int]) -> str:
        parts = [b"<s>" if token == 256 else bytes([token]) for token in token_ids]
        return b"".join(parts).decode("utf-8", "replace")

    def piece(self, token_id: int) -> bytes:
        return b"<s>" if token_id == 256 else bytes([token_id])


@dataclass
class ScriptedChat:
    """A TextModel that always generates `text`, one byte per token.

    With a `gate`, each token waits for a release. With `fail_after`, the engine fails after that
    many tokens. The prompt of a chat has a token for each character.
    """

    text: str = "Hello, wörld!"
    gate: threading.Semaphore | None = None
    fail_after: int | None = None
    context_length: int = 1000
    max_concurrent: int = 2
    supports: frozenset[str] = frozenset({"seed", "presence_penalty", "frequency_penalty"})
    chat_template: str = ""
    ending: str = ""
    device: str = "cpu"
    healthy: bool = True
    vocabulary: Any = field(default_factory=Bytes)
    vocab_size: int = 257
    asked: list[Sampling] = field(default_factory=list)
    read: list[list[int]] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    prompts: list[tuple[list[dict[str, Any]], TemplateArguments]] = field(default_factory=list)

    def prompt(
        self,
        messages: Sequence[dict[str, Any]],
        images: Sequence[Any],
        arguments: TemplateArguments = NO_ARGUMENTS,
    ) -> Prompt:
        if messages[0]["role"] == "assistant":
            raise BadRequest("The model's chat template refuses these messages.", param="messages")
        texts = [
            text if isinstance(text := message["content"], str) else text[0]["text"]
            for message in messages
        ]
        self.prompts.append((list(messages), arguments))
        return Prompt(num_tokens=sum(map(len, texts)), state=None, ending=self.ending)

    def prompt_of(self, token_ids: Sequence[int]) -> Prompt:
        self.read.append(list(token_ids))
        return Prompt(num_tokens=len(token_ids), state=list(token_ids))

    def submit(self, prompt: Prompt, sampling: Sampling, emit: Callable[[Step], None]) -> Running:
        self.asked.append(sampling)
        running = Running(self, prompt, sampling, emit)
        self.running.append(running)
        running.thread.start()
        return running

    def compile(self, wanted: OutputFormat) -> OutputFormat:
        if "refused" in wanted.source:
            raise BadRequest("The schema cannot be followed.", param=wanted.param)
        return wanted

    def decode(self, token_ids: Sequence[int]) -> str:
        known = [token for token in token_ids if token < 256]
        return bytes(known).decode("utf-8", "replace")

    def close(self) -> None:
        for running in self.running:
            running.cancel()


@dataclass
class Live:
    """A served model with its address."""

    port: int
    server: ServerState
    model: ScriptedChat
    path: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=20, verify=False) as client:
            return await client.request(method, path, **more)

    async def chat(self, **fields: Any) -> httpx.Response:
        """Send a greeting to `path` and return the response."""
        body = {"model": "scripted"} | HELLO[self.path] | fields
        return await self.ask("POST", self.path, json=body)

    async def refused(self, **fields: Any) -> dict[str, Any]:
        """Send a request that is rejected with 400 and return its error."""
        answer = await self.chat(**fields)
        assert answer.status_code == 400, answer.text
        found: dict[str, Any] = answer.json()["error"]
        assert set(found) == {"message", "type", "param", "code"}
        return found

    async def events(self, **fields: Any) -> AsyncIterator[Any]:
        """The events of a stream as they arrive: objects, and the end mark as a string."""
        body = {"model": "scripted", "stream": True} | HELLO[self.path] | fields
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=20, verify=False) as client,
            client.stream("POST", self.path, json=body) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                if line:
                    assert line.startswith("data: ")
                    data = line.removeprefix("data: ")
                    yield data if data == "[DONE]" else json.loads(data)

    def gauge(self, name: str) -> float:
        start = f'{name}{{model="scripted"'
        lines = self.server.metrics.render().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(start))

    async def idle(self) -> None:
        """Wait until no request is running or queued."""
        await until_async(
            lambda: not self.gauge("modelfleet_in_flight") + self.gauge("modelfleet_queue_depth")
        )


Serve = Callable[..., AbstractContextManager[Live]]


def serving(listen: Any, path: str) -> Serve:
    """Serve models whose greeting is sent to `path`."""

    @contextmanager
    def start(
        model: ScriptedChat | None = None, *, ready: bool = True, read_timeout: float = 30,
        heartbeat: float = 15, tracing: Tracing | None = None, **fields: Any,
    ) -> Iterator[Live]:  # fmt: skip
        model = model or ScriptedChat()
        assert isinstance(model, ChatModel)
        server = ServerState(ModelSpec.model_validate({"model": "scripted"} | fields), 2, heartbeat)
        if ready:
            server.set_ready(model)
        try:
            with listen(create_app(server, tracing=tracing), read_timeout=read_timeout) as port:
                yield Live(port, server, model, path)
        finally:
            model.close()
            server.close()

    return start


@pytest.fixture
def serve(listen: Any) -> Serve:
    """`with serve(model, **spec fields) as live`."""
    return serving(listen, CHAT)


@pytest.fixture
def scripted() -> type[ScriptedChat]:
    return ScriptedChat


@pytest.fixture
def until() -> Any:
    return until_async


@pytest.fixture
def client_of() -> Callable[[Any], openai.AsyncOpenAI]:
    """The official client of a served model."""

    def make(live: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)

    return make
