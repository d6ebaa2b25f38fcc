"""Each workload against a real server: requests, measurements and rejected responses."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_bench.audio import Audio
from fleet_bench.chat import Chat
from fleet_bench.embeddings import Embeddings
from fleet_bench.load import Run, run
from fleet_bench.recordings import AudioFile
from fleet_bench.settings import BenchSettings


def settings(target: Any, **fields: Any) -> BenchSettings:
    given: dict[str, Any] = {
        "base_url": target.url, "model": "m", "requests": 6, "concurrency": 2, "warmup": 1,
        "rate": None, "timeout": 10,
    }  # fmt: skip
    return BenchSettings(**given | fields)


def chat(target: Any, *, stream: bool = True, prompt: str | None = None, **fields: Any) -> Chat:
    return Chat(
        settings(target, **fields), prompt, words=5, max_tokens=9, temperature=0, stream=stream
    )


def embeddings(target: Any, *, encoding: str = "base64", batch: int = 1, **fields: Any) -> Any:
    return Embeddings(settings(target, **fields), None, words=5, batch=batch, encoding=encoding)


async def measure(workload: Any) -> Run:
    return await run(workload.settings, workload)


def errors(found: Run) -> set[str | None]:
    return {sample.error for sample in found.samples}


async def test_chat_measures_the_stream(target: Any) -> None:
    found = await measure(chat(target))
    assert errors(found) == {None}
    assert len(found.samples) == 6
    for sample in found.samples:
        answer = sample.stats
        assert answer is not None
        assert (answer.tokens, answer.prompt_tokens) == (3, 7)
        assert answer.first is not None
        assert 0.005 <= answer.first < sample.seconds
        assert len(answer.gaps) == 2
        assert answer.first + sum(answer.gaps) <= sample.seconds


async def test_chat_sends_distinct_prompts_warm_up_included(target: Any) -> None:
    await measure(chat(target))
    assert len(target.bodies) == 7
    contents = {body["messages"][0]["content"] for body in target.bodies}
    assert len(contents) == 7
    body = target.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 9, 0)
    assert body["stream_options"] == {"include_usage": True}


async def test_chat_whole_and_with_one_prompt(target: Any) -> None:
    found = await measure(chat(target, stream=False, prompt="Why?"))
    assert errors(found) == {None}
    assert {body["messages"][0]["content"] for body in target.bodies} == {"Why?"}
    assert not any("stream" in body for body in target.bodies)


async def test_a_stream_may_close_after_a_finish_reason(target: Any) -> None:
    target.mode = "unmarked"
    assert errors(await measure(chat(target))) == {None}


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("empty", "empty response"),
        ("uncounted", "no token count in usage"),
        ("endless", "stream without an end"),
        ("half", "error in mid-stream"),
        ("nonsense", "event is not JSON"),
        ("busy", "HTTP 429 queue_full"),
        ("html", "HTTP 502"),
    ],
)
async def test_chat_rejects_invalid_responses(target: Any, mode: str, reason: str) -> None:
    target.mode = mode
    found = await measure(chat(target))
    assert errors(found) == {reason}
    assert "secret" not in str(found)


@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_embeddings(target: Any, encoding: str) -> None:
    found = await measure(embeddings(target, encoding=encoding, batch=3))
    assert errors(found) == {None}
    assert sum(sample.stats.items for sample in found.samples if sample.stats) == 18
    texts = [text for body in target.bodies for text in body["input"]]
    assert len(set(texts)) == len(texts) == 21
    assert all(len(text.split()) == 5 for text in texts)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("short", "wrong number of vectors"), ("zero", "vector of length zero or infinity")],
)
async def test_embeddings_reject_invalid_responses(target: Any, mode: str, reason: str) -> None:
    target.mode = mode
    assert errors(await measure(embeddings(target, batch=2))) == {reason}


@pytest.mark.parametrize(("translate", "kind"), [(False, "transcriptions"), (True, "translations")])
async def test_audio(target: Any, translate: bool, kind: str) -> None:
    found = await measure(Audio(settings(target), [AudioFile("a.wav", b"RIFF")], "de", translate))
    assert errors(found) == {None}
    assert sum(sample.stats.audio_seconds for sample in found.samples if sample.stats) == 15
    body = target.bodies[0]
    assert (body["kind"], body["size"], body["name"]) == (kind, 4, "a.wav")
    assert body["response_format"] == "verbose_json"
    assert body.get("language") == (None if translate else "de")


async def test_audio_rejects_empty_responses(target: Any) -> None:
    target.mode = "empty"
    found = await measure(Audio(settings(target), [AudioFile("a.wav", b"RIFF")], None, False))
    assert errors(found) == {"empty response"}


async def test_timeouts_and_refused_connections_are_counted(target: Any) -> None:
    target.mode = "slow"
    found = await measure(chat(target, timeout=0.2, requests=2, warmup=0))
    assert errors(found) == {"timeout"}
    target.url = "http://127.0.0.1:9"
    found = await measure(chat(target, requests=2, warmup=0))
    assert errors(found) == {"ConnectError"}


async def test_the_key_is_sent(target: Any) -> None:
    await measure(chat(target, api_key="k-1", requests=1, warmup=0))
    assert target.headers[0]["authorization"] == "Bearer k-1"


def test_the_address_may_end_with_v1(target: Any) -> None:
    for url in ("http://x", "http://x/", "http://x/v1", "http://x/v1/"):
        assert settings(target, base_url=url).root == "http://x/v1"
