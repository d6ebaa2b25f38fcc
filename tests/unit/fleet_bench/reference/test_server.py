"""The HTTP API of the reference, called by the client of the benchmark; the models are stubs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from fleet_bench.audio import Audio
from fleet_bench.chat import Chat
from fleet_bench.compare.outputs import ModelClient
from fleet_bench.embeddings import Embeddings
from fleet_bench.load import Run, Workload, run
from fleet_bench.recordings import AudioFile
from fleet_bench.reference.server import form, serve
from fleet_bench.settings import BenchSettings


class Echo:
    """Returns the last message reversed, byte by byte; a vector is a text's length and one."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.ended: list[int] = []

    def prompt(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        return self.encode(messages[-1]["content"])

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode(errors="replace")

    def generate(self, prompt: Sequence[int], max_tokens: int) -> Iterator[int]:
        made = 0
        try:
            for token in self.decode(prompt)[::-1].encode()[:max_tokens]:
                yield token
                made += 1
        finally:
            self.ended.append(made)

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        return [[float(len(text)), 1.0] for text in texts], sum(map(len, texts))

    def transcribe(
        self, recording: bytes, language: str | None, translate: bool
    ) -> tuple[str, float]:
        self.heard.append((recording, language, translate))
        return "hello", 1.5


@pytest.fixture
def model() -> Echo:
    return Echo()


@pytest.fixture
def url(model: Echo) -> Iterator[str]:
    server = serve(model, "acme/echo", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def settings(url: str) -> BenchSettings:
    return BenchSettings(url, "acme/echo", 4, 2, 0, None, 10)


async def run_workload(workload: Workload, url: str) -> Run:
    found = await run(settings(url), workload)
    assert {sample.error for sample in found.samples} == {None}
    return found


@pytest.mark.parametrize("stream", [True, False])
async def test_chat(url: str, stream: bool) -> None:
    found = await run_workload(Chat(settings(url), "über", 0, 4, 0, stream), url)
    for sample in found.samples:
        assert sample.stats is not None
        assert (sample.stats.tokens, sample.stats.prompt_tokens) == (4, 5)
        assert (sample.stats.first is not None) is stream


async def test_embeddings_and_speech(url: str, model: Echo) -> None:
    for encoding in ("base64", "float"):
        await run_workload(Embeddings(settings(url), None, 3, 2, encoding), url)
    found = await run_workload(
        Audio(settings(url), [AudioFile("a.wav", b"\r\n--RIFF\0")], "de", True), url
    )
    assert found.samples[0].stats is not None
    assert found.samples[0].stats.audio_seconds == 1.5
    assert model.heard[0] == (b"\r\n--RIFF\0", None, True)


async def test_complete_responses(url: str, model: Echo) -> None:
    async with httpx.AsyncClient() as http:
        client = ModelClient(http, f"{url}/v1", "acme/echo")
        assert await client.chat("abc", 2) == "cb"
        assert await client.embed("abc") == [3, 1]
        assert await client.tokens("ab") == [97, 98]
        assert await client.transcribe(AudioFile("a.wav", b"x"), "de") == "hello"
    assert model.heard == [(b"x", "de", False)]


def test_a_character_of_several_tokens_is_sent_whole(url: str) -> None:
    body = {"messages": [{"role": "user", "content": "ü!"}], "stream": True}
    text = httpx.post(f"{url}/v1/chat/completions", json=body).text
    assert '"content": "!"' in text
    assert '"content": "\\u00fc"' in text
    assert "\\ufffd" not in text


def test_a_cut_character_is_sent_at_the_end(url: str) -> None:
    body = {"messages": [{"role": "user", "content": "ü"}], "stream": True, "max_tokens": 1}
    text = httpx.post(f"{url}/v1/chat/completions", json=body).text
    assert '"content": "\\ufffd"' in text
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
def test_a_bad_request_is_a_400(url: str, stream: bool) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", json={"stream": stream})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "KeyError: 'messages'")


def test_other_paths(url: str) -> None:
    assert httpx.get(f"{url}/health").status_code == 200
    assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "acme/echo"
    assert httpx.post(f"{url}/v1/other", json={}).status_code == 404


def test_a_form_without_a_boundary_has_no_fields() -> None:
    assert form("multipart/form-data", b"--x\r\n\r\n") == {}
