"""Recordings in chats: transcribed by another model of the fleet, as the same caller."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.waiting import until_async

AUDIO = b"RIFF\x00\r\n--b\r\nWAVE"
PART = {"type": "input_audio",
        "input_audio": {"data": base64.b64encode(AUDIO).decode(), "format": "wav"}}  # fmt: skip
TEXT = {"type": "text", "text": "Answer:"}


def answer(document: Any, status: str = "200 OK") -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 7\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def ask(router: Any, *parts: Any, model: str = "acme/chat", **headers: str) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": list(parts)}]}
    return await router.client.post("/v1/chat/completions", json=body, headers=headers)


async def test_a_model_that_does_not_hear_gets_the_text(start: Any, upstream: Any) -> None:
    upstream.script += [answer({"text": " Hello. "}), answer({"text": "Bye."})]
    async with start(transcription="acme/speech") as router:
        done = await ask(router, TEXT, PART, PART)
        assert done.status_code == 200
        assert await router.metric("modelfleet_router_requests_total", model="acme/speech") == 2
        assert await router.metric("modelfleet_router_requests_total", model="acme/chat") == 1
        assert router.unreleased() == (0, 0)
    # The router reads the metrics of servers too.
    first, second, chat = [each for each in upstream.seen if each.line.startswith("POST")]
    for form in (first, second):
        assert form.line.startswith("POST /v1/audio/transcriptions ")
        assert AUDIO in form.body
        assert b"acme/speech" in form.body
        assert b'filename="recording.wav"' in form.body
    texts = ["Hello.", "Bye."]
    assert json.loads(chat.body)["messages"][0]["content"] == [
        TEXT, *({"type": "text", "text": text} for text in texts),
    ]  # fmt: skip
    assert int(chat.headers["content-length"]) == len(chat.body)


async def test_a_model_of_others_gets_the_recording(start: Any, upstream: Any) -> None:
    async with start(transcription="acme/speech") as router:
        assert (await ask(router, PART, model="acme/far")).status_code == 200
    (chat,) = upstream.seen
    assert json.loads(chat.body)["messages"][0]["content"] == [PART]


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        ("400 Bad Request", 400, "invalid_request_error"),
        ("429 Too Many Requests", 429, "rate_limit_error"),
        ("500 Internal Server Error", 502, "api_error"),
    ],
)
async def test_a_recording_that_cannot_be_transcribed(
    start: Any, upstream: Any, status: str, expected: int, kind: str
) -> None:
    upstream.script.append(answer({"error": {"message": "It is no audio."}}, status))
    async with start(transcription="acme/speech") as router:
        refused = await ask(router, PART)
        assert router.unreleased() == (0, 0)
    error = refused.json()["error"]
    assert (refused.status_code, error["type"]) == (expected, kind)
    assert refused.headers["retry-after"] == "7"
    assert error["param"] == "messages[0].content[0]"
    assert "It is no audio." in error["message"]
    assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [("503 Service Unavailable", "service_unavailable"), ("504 Gateway Timeout", "api_error")],
)
async def test_a_provider_that_is_overloaded_is_not_a_failure(
    start: Any, upstream: Any, status: str, kind: str
) -> None:
    upstream.script.append(answer({"error": {"message": "Later."}}, status))
    async with start(transcription="acme/ears") as router:
        refused = await ask(router, PART)
        assert router.unreleased() == (0, 0)
    assert (refused.status_code, refused.json()["error"]["type"]) == (int(status[:3]), kind)
    assert refused.headers["retry-after"] == "7"


async def test_recordings_that_can_never_fit_the_memory_are_too_large(
    start: Any, upstream: Any
) -> None:
    async with start(transcription="acme/speech") as router:
        memory = router.proxy._budgets.memory
        memory.limit = memory.left = 1000
        refused = await ask(router, PART, {"type": "text", "text": "x" * 400})
        assert router.unreleased() == (0, 0)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
    assert "retry-after" not in refused.headers
    assert not upstream.seen


async def test_a_chat_that_will_be_refused_is_not_transcribed(
    start: Any, upstream: Any, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.yaml"
    limits = {"requestsPerMinute": 1}
    listed = {"name": "one", "sha256": hashlib.sha256(b"one").hexdigest(), "limits": limits}
    keys.write_text(yaml.safe_dump({"keys": [listed]}))
    async with start(keys=keys, transcription="acme/speech") as router:
        stopped = await ask(router, PART, model="acme/off", authorization="Bearer one")
        assert (stopped.status_code, len(upstream.seen)) == (503, 0)
        assert "is stopped" in stopped.json()["error"]["message"]
        assert (await ask(router, TEXT, authorization="Bearer one")).status_code == 200
        refused = await ask(router, PART, authorization="Bearer one")
        assert router.unreleased() == (0, 0)
    assert (refused.status_code, refused.json()["error"]["param"]) == (429, None)
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(upstream.seen) == 1


async def test_the_model_has_to_be_chosen_among_several(start: Any, upstream: Any) -> None:
    async with start() as router:
        refused = await ask(router, PART)
    assert refused.status_code == 400
    assert "TRANSCRIPTION_MODEL" in refused.json()["error"]["message"]
    assert not upstream.seen


async def test_a_chat_without_recordings_needs_no_choice(start: Any, upstream: Any) -> None:
    properties = {"input_audio": {"type": "string"}}
    tool = {"type": "function", "function": {"name": "play", "parameters": {
        "type": "object", "properties": properties}}}  # fmt: skip
    async with start() as router:
        assert (await router.chat(tools=[tool])).status_code == 200
        assert router.unreleased() == (0, 0)
    (chat,) = [each for each in upstream.seen if each.line.startswith("POST")]
    assert json.loads(chat.body)["tools"] == [tool]


async def test_keys_need_both_models(start: Any, upstream: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    listed = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "models": models}
        for name, models in {
            "both": ["acme/chat", "acme/speech"], "chat": ["acme/chat"],
        }.items()
    ]  # fmt: skip
    keys.write_text(yaml.safe_dump({"keys": listed}))
    upstream.script.append(answer({"text": "Hello."}))
    async with start(keys=keys, transcription="acme/speech") as router:
        done = await ask(router, PART, authorization="Bearer both")
        assert done.status_code == 200
        assert len(upstream.seen) == 2
        refused = await ask(router, PART, authorization="Bearer chat")
    assert refused.status_code == 403
    assert len(upstream.seen) == 2


async def test_a_client_that_leaves_ends_the_transcription(start: Any, upstream: Any) -> None:
    began = asyncio.Event()

    async def endless(writer: asyncio.StreamWriter) -> None:
        began.set()
        await writer.wait_closed()

    upstream.script.append(endless)
    async with start(transcription="acme/speech") as router:
        asked = asyncio.ensure_future(ask(router, PART))
        await asyncio.wait_for(began.wait(), 10)
        asked.cancel()
        await asyncio.wait((asked,))
        await until_async(lambda: router.unreleased() == (0, 0))
    assert len(upstream.seen) == 1
