"""Chat responses as a stream of events, over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import httpx
import pytest


async def collect(live: Any, **fields: Any) -> list[Any]:
    return [event async for event in live.events(**fields)]


async def test_the_stream_has_openais_shape(serve: Any) -> None:
    with serve() as live:
        *chunks, end = await collect(live)
    assert end == "[DONE]"
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
    assert chunks[0]["object"] == "chat.completion.chunk"
    assert chunks[0]["id"].startswith("chatcmpl-")
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0] == {
        "index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None,
        "finish_reason": None,
    }  # fmt: skip
    assert choices[-1]["delta"] == {}
    assert choices[-1]["finish_reason"] == "stop"
    assert all(choice["finish_reason"] is None for choice in choices[:-1])
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Hello, wörld!"
    assert not any("usage" in chunk for chunk in chunks)


async def test_every_token_is_sent_when_it_is_there(serve: Any, scripted: Any) -> None:
    gate = threading.Semaphore(0)
    with serve(scripted("abc", gate=gate)) as live:
        events = live.events()
        asyncio.get_running_loop().call_later(0.05, gate.release)
        assert (await anext(events))["choices"][0]["delta"]["role"] == "assistant"
        seen = [(await anext(events))["choices"][0]["delta"]["content"]]
        for _ in range(2):
            gate.release()
            seen.append((await anext(events))["choices"][0]["delta"]["content"])
        assert seen == ["a", "b", "c"]
        assert [event async for event in events][-1] == "[DONE]"


async def test_no_event_splits_a_character(serve: Any, scripted: Any) -> None:
    gate = threading.Semaphore(0)
    with serve(scripted("naïve 日本 👩‍👧", gate=gate)) as live:
        for _ in range(40):
            gate.release()
        events = await collect(live)
    pieces = [e["choices"][0]["delta"].get("content", "") for e in events[:-1]]
    assert "".join(pieces) == "naïve 日本 👩‍👧"
    assert not any("\ufffd" in piece for piece in pieces)


async def test_usage_is_the_last_chunk_when_requested(serve: Any) -> None:
    with serve() as live:
        *chunks, last, end = await collect(live, stream_options={"include_usage": True})
    assert end == "[DONE]"
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 5, "completion_tokens": 14, "total_tokens": 19}
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_a_stop_string_across_tokens_is_never_sent(serve: Any) -> None:
    with serve() as live:
        events = await collect(live, stop=["lo, wör"])
        await live.idle()
    pieces = [e["choices"][0]["delta"].get("content", "") for e in events[:-1]]
    assert "".join(pieces) == "Hel"
    assert events[-2]["choices"][0]["finish_reason"] == "stop"


async def test_a_partial_stop_string_is_sent_at_the_end(serve: Any) -> None:
    with serve() as live:
        events = await collect(live, stop=["d!!"], max_tokens=14)
    pieces = [e["choices"][0]["delta"].get("content", "") for e in events[:-1]]
    assert "".join(pieces) == "Hello, wörld!"
    assert events[-2]["choices"][0]["finish_reason"] == "length"


async def test_a_refusal_is_not_streamed(serve: Any) -> None:
    with serve() as live:
        error = await live.refused(stream=True, temperature=9)
    assert error["param"] == "temperature"


async def test_a_failure_before_the_first_token_is_a_500(serve: Any, scripted: Any) -> None:
    with serve(scripted(fail_after=0)) as live:
        for stream in (True, False):
            answer = await live.chat(stream=stream)
            assert answer.status_code == 500
            assert "secret" not in answer.text
            assert answer.headers["x-request-id"]
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


async def test_a_disconnect_from_a_stream_frees_the_engine(serve: Any, scripted: Any) -> None:
    gate = threading.Semaphore(1)
    with serve(scripted("a" * 500, gate=gate)) as live:
        async with (
            httpx.AsyncClient(base_url=live.url) as client,
            client.stream("POST", "/v1/chat/completions", json={
                "model": "scripted", "stream": True,
                "messages": [{"role": "user", "content": "x"}],
            }) as answer,
        ):  # fmt: skip
            async for _ in answer.aiter_lines():
                break
            assert live.gauge("modelfleet_in_flight") == 1
        await live.idle()
        assert await asyncio.to_thread(live.model.running[0].cancelled.wait, 5)


async def test_a_disconnect_before_a_complete_response_frees_the_engine(
    serve: Any, scripted: Any, until: Any
) -> None:
    with serve(scripted(gate=threading.Semaphore(0))) as live:
        asking = asyncio.create_task(live.chat())
        await until(lambda: live.model.running)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await asyncio.to_thread(live.model.running[0].cancelled.wait, 5)
        await live.idle()


async def test_a_client_that_stops_reading_is_disconnected(
    serve: Any, scripted: Any, until: Any
) -> None:
    class Loud(scripted):
        def decode(self, token_ids: Any) -> str:
            return "x" * (200_000 * len(token_ids))

    # 4 MB: more than the sender buffers for a receiver whose own buffer is small.
    with serve(Loud("a" * 20), read_timeout=0.3) as live, socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", live.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
        body = b'{"model":"scripted","stream":true,"messages":[{"role":"user","content":"x"}]}'
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        await reader.readuntil(b"\r\n\r\n")
        await until(lambda: live.model.running)
        await live.idle()
        assert live.model.running[0].cancelled.is_set()
        writer.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_stream_above_the_request_timeout_is_ended(
    serve: Any, scripted: Any, stream: bool
) -> None:
    gate = threading.Semaphore(3)
    with serve(scripted(gate=gate), limits={"requestTimeout": 0.3}) as live:
        if stream:
            events = await collect(live)
            assert events[-1]["error"]["code"] == "timeout"
        else:
            answer = await live.chat()
            assert answer.status_code == 504
            assert "0.3 seconds" in answer.json()["error"]["message"]
        await live.idle()
        assert live.model.running[0].cancelled.is_set()


async def raw_lines(live: Any, seen: list[str]) -> httpx.Headers:
    """The headers of a stream, whose lines are added to `seen` as they arrive."""
    body = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
    async with (
        httpx.AsyncClient(base_url=live.url, timeout=20) as client,
        client.stream("POST", live.path, json=body) as answer,
    ):
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line:
                seen.append(line)
        return answer.headers


async def test_a_silent_stream_is_opened_and_kept_alive(
    serve: Any, scripted: Any, until: Any
) -> None:
    gate = threading.Semaphore(0)
    lines: list[list[str]] = [[], []]
    with serve(scripted("a", gate=gate, max_concurrent=1), heartbeat=0.02) as live:
        asked = [asyncio.create_task(raw_lines(live, seen)) for seen in lines]
        await until(lambda: min(map(len, lines)) >= 3)  # one of them runs, the other one waits
        assert live.gauge("modelfleet_queue_depth") == 1
        gate.release()
        gate.release()
        for each, seen in zip(asked, lines, strict=True):
            headers = await each
            assert headers["content-type"].startswith("text/event-stream")
            assert headers["x-modelfleet-model"] == "scripted"
            events = [line for line in seen if not line.startswith(":")]
            assert seen[-len(events) :] == events
            assert events[-1] == "data: [DONE]"
            delta = json.loads(events[1].removeprefix("data: "))["choices"][0]["delta"]
            assert delta == {"content": "a"}
        await live.idle()


async def test_a_stream_that_starts_in_time_has_no_comments(serve: Any) -> None:
    lines: list[str] = []
    with serve(heartbeat=30) as live:
        await raw_lines(live, lines)
    assert all(line.startswith("data: ") for line in lines)


async def test_an_error_of_an_open_stream_is_an_event(serve: Any, scripted: Any) -> None:
    gate = threading.Semaphore(0)
    model = scripted(gate=gate, max_concurrent=1)
    lines: list[list[str]] = [[], []]
    with serve(model, heartbeat=0.02, limits={"requestTimeout": 0.2}) as live:
        await asyncio.gather(*(raw_lines(live, seen) for seen in lines))
        await live.idle()
    for seen in lines:
        assert seen[0].startswith(":")
        last = json.loads(seen[-1].removeprefix("data: "))
        assert last["error"]["code"] == "timeout"


async def test_a_disconnect_from_an_open_stream_frees_everything(
    serve: Any, scripted: Any, until: Any
) -> None:
    gate = threading.Semaphore(0)
    lines: list[list[str]] = [[], []]
    with serve(scripted(gate=gate, max_concurrent=1), heartbeat=0.02) as live:
        running = asyncio.create_task(raw_lines(live, lines[0]))
        await until(lambda: live.gauge("modelfleet_in_flight") == 1)
        waiting = asyncio.create_task(raw_lines(live, lines[1]))
        await until(lambda: all(lines))
        waiting.cancel()
        await until(lambda: live.gauge("modelfleet_queue_depth") == 0)
        running.cancel()
        await live.idle()
        assert [each.cancelled.is_set() for each in live.model.running] == [True]


async def test_choices_of_a_stream_have_an_index(serve: Any) -> None:
    with serve() as live:
        chunks = [chunk async for chunk in live.events(n=3) if chunk != "[DONE]"]
        await live.idle()
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    for index in range(3):
        mine = [choice for choice in choices if choice["index"] == index]
        assert mine[0]["delta"]["role"] == "assistant"
        assert "".join(each["delta"].get("content", "") for each in mine) == live.model.text
        assert [each["finish_reason"] for each in mine if each["finish_reason"]] == ["stop"]


async def test_choices_count_their_prompt_once(serve: Any) -> None:
    with serve() as live:
        body = (await live.chat(n=3, seed=5)).json()
        await live.idle()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    texts = {choice["message"]["content"] for choice in body["choices"]}
    assert texts == {live.model.text}
    assert body["usage"]["prompt_tokens"] == 5
    assert body["usage"]["completion_tokens"] == 3 * len(live.model.text.encode())
    assert sorted(sampling.seed for sampling in live.model.asked) == [5, 6, 7]
