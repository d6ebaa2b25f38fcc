"""The speech routes: responses, refusals, admission, streams and disconnects."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from fleet_contract.server_protocol import CALLER_HEADER
from fleet_server.app import create_app
from fleet_server.state import ServerState
from support import forged_recordings
from support.waiting import until_async

PATH, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
SECONDS = 20
Serve = Callable[..., Any]
Make = Callable[..., Any]


@pytest.fixture
def post(make_wav: Callable[..., bytes]) -> Callable[..., Any]:
    async def send(
        client: httpx.AsyncClient,
        path: str = PATH,
        *,
        file: bytes | None = make_wav(2.0),
        **fields: Any,
    ) -> httpx.Response:
        files = {"other": b""} if file is None else {"file": ("a.wav", file)}
        return await client.post(path, data={"model": "tiny"} | fields, files=files)

    return send


def series(client: Any, name: str) -> float:
    lines = client.server.metrics.render().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))


async def test_the_five_formats(serve: Serve, post: Make) -> None:
    async with serve() as client:
        answers = {
            name: await post(client, response_format=name)
            for name in ("json", "text", "srt", "vtt", "verbose_json")
        }
        assert all(answer.status_code == 200 for answer in answers.values())
        assert answers["json"].json() == {
            "text": "one two",
            "usage": {"type": "duration", "seconds": 2},
        }
        assert answers["text"].text == "one two\n"
        assert answers["srt"].text.startswith("1\n00:00:00,000 --> 00:00:01,000\none\n\n2\n")
        assert answers["vtt"].text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\none\n")
        assert answers["vtt"].headers["content-type"].startswith("text/vtt")
        assert answers["verbose_json"].json()["language"] == "german"
        assert len(answers["verbose_json"].json()["segments"]) == 2
        assert answers["json"].headers["x-modelfleet-model"] == "tiny"
        assert float(answers["json"].headers["x-modelfleet-queue-ms"]) >= 0
        assert series(client, "modelfleet_audio_seconds_total") == pytest.approx(10)
        assert series(client, "modelfleet_in_flight") == 0


async def test_parameters_reach_the_model(serve: Serve, post: Make, counting_model: Make) -> None:
    model = counting_model()
    async with serve(model) as client:
        client.headers[CALLER_HEADER] = "0123456789abcdef"
        await post(client, prompt="Anna", language="German", temperature="0.4")
        await post(client, TRANSLATIONS)
        words = await post(
            client, response_format="verbose_json", **{"timestamp_granularities[]": ["word"]}
        )
        assert [word["word"] for word in words.json()["words"]] == ["one", "two"]
    first, second, third = model.asked
    assert first.caller == "0123456789abcdef"
    assert (first.task, first.language, first.prompt, first.temperature) == (
        "transcribe", "de", "Anna", 0.4,
    )  # fmt: skip
    assert (second.task, second.language, second.temperature) == ("translate", None, None)
    assert (first.word_timestamps, third.word_timestamps) == (False, True)


async def test_unknown_fields_are_ignored_and_counted(serve: Serve, post: Make) -> None:
    async with serve() as client:
        assert (await post(client, colour="red", **{"x[]": ["1", "2"]})).status_code == 200
        assert series(client, "modelfleet_ignored_fields_total") == 3


async def refused(answer: httpx.Response, status: int, param: str | None, word: str = "") -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert word in error["message"]


async def test_refusals(serve: Serve, post: Make) -> None:
    async with serve() as client:
        await refused(await post(client, file=None), 400, "file", "Missing")
        await refused(await post(client, file=b""), 400, "file", "empty")
        await refused(await post(client, file=b"no sound " * 99), 400, "file", "cannot be read")
        await refused(await post(client, model="other"), 404, "model", "other")
        await refused(await post(client, model=""), 404, "model", "not served")
        await refused(await post(client, language="klingon"), 400, "language", "klingon")
        await refused(await post(client, response_format="yaml"), 400, "response_format", "srt")
        await refused(await post(client, TRANSLATIONS, stream="true"), 400, "stream")
        json_body = await client.post(PATH, json={"model": "tiny"})
        await refused(json_body, 400, "file", "multipart")
        await refused(await client.post(PATH), 400, "file", "multipart")
        get = await client.get(PATH)
        await refused(get, 405, None)
        chat = await client.post("/v1/chat/completions", json={})
        await refused(chat, 400, "model", PATH)


async def test_an_english_only_checkpoint(serve: Serve, post: Make, counting_model: Make) -> None:
    async with serve(counting_model(("en",))) as client:
        assert (await post(client, language="en")).status_code == 200
        await refused(await post(client, language="de"), 400, "language", "English-only")
        await refused(await post(client, TRANSLATIONS), 400, "model", "English-only")


async def test_too_long_a_recording(serve: Serve, post: Make) -> None:
    async with serve(limits={"maxAudioSeconds": 1}) as client:
        await refused(await post(client), 413, "file", "1 seconds")


async def test_requests_before_the_model_is_loaded_are_a_503(serve: Serve, post: Make) -> None:
    async with serve(loaded=False) as client:
        answer = await post(client)
        await refused(answer, 503, None, "starting")
        assert "retry-after" in answer.headers


async def test_errors_of_the_engine_are_a_500_without_their_text(
    serve: Serve, post: Make, counting_model: Make
) -> None:
    model = counting_model()
    model.error = RuntimeError("secret path")
    async with serve(model) as client:
        answer = await post(client)
        await refused(answer, 500, None)
        assert "secret" not in answer.text
        assert series(client, "modelfleet_in_flight") == 0


async def test_a_request_has_a_timeout(serve: Serve, post: Make, counting_model: Make) -> None:
    model = counting_model()
    model.hold.set()
    async with serve(model, limits={"requestTimeout": 0.2}) as client:
        await refused(await post(client), 504, None, "0.2 seconds")
        await wait_until(model.left)
        assert series(client, "modelfleet_in_flight") == 0


async def wait_until(semaphore: threading.Semaphore) -> None:
    assert await asyncio.to_thread(semaphore.acquire, timeout=SECONDS)


async def test_a_full_queue_is_a_429(serve: Serve, post: Make, counting_model: Make) -> None:
    model = counting_model(concurrent=1)
    model.hold.set()
    async with serve(model, limits={"maxQueueSize": 1}) as client:
        running = asyncio.create_task(post(client))
        await wait_until(model.entered)
        waiting = asyncio.create_task(post(client))
        await until_async(lambda: series(client, "modelfleet_queue_depth"), SECONDS)
        answer = await post(client)
        await refused(answer, 429, None)
        assert int(answer.headers["retry-after"]) >= 1
        model.hold.clear()
        for task in (running, waiting):
            assert (await task).json()["text"] == "one two"


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line]


async def test_a_stream(serve: Serve, post: Make) -> None:
    async with serve() as client:
        answer = await post(client, stream="true")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-modelfleet-model"] == "tiny"
        assert events(answer.text) == [
            {"type": "transcript.text.delta", "delta": "one"},
            {"type": "transcript.text.delta", "delta": " two"},
            {
                "type": "transcript.text.done",
                "text": "one two",
                "usage": {"type": "duration", "seconds": 2},
            },
        ]


@pytest.fixture
async def socket_client(
    listen: Make, make_server: Make, counting_model: Make
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app on a real socket, with room for one request at a time."""
    model = counting_model(concurrent=1)
    server: ServerState = make_server(model, limits={"maxAudioBytes": 1_000_000})
    with listen(create_app(server), read_timeout=1) as port:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=SECONDS, trust_env=False
        ) as client:
            client.server, client.model = server, model  # type: ignore[attr-defined]
            yield client
            model.hold.clear()


async def test_segments_arrive_while_the_rest_is_read(
    socket_client: Any, make_wav: Callable[..., bytes]
) -> None:
    socket_client.model.hold.set()
    request = socket_client.build_request(
        "POST", PATH, data={"model": "tiny", "stream": "true"}, files={"file": make_wav(3.0)}
    )
    answer = await socket_client.send(request, stream=True)
    lines = answer.aiter_lines()
    assert json.loads((await anext(lines))[6:])["delta"] == "one"
    socket_client.model.hold.clear()
    rest = [json.loads(line[6:]) async for line in lines if line]
    assert [event.get("delta") for event in rest] == [" two", " three", None]
    assert rest[-1]["text"] == "one two three"


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_a_disconnect_frees_its_slot(socket_client: Any, post: Make, stream: str) -> None:
    model = socket_client.model
    model.hold.set()
    leaving = asyncio.create_task(post(socket_client, stream=stream))
    await wait_until(model.entered)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await wait_until(model.left)
    model.hold.clear()
    answer = await post(socket_client)
    assert answer.json()["text"] == "one two"
    assert series(socket_client, "modelfleet_in_flight") == 0


HEAD = (
    "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x\r\n{more}\r\n"
)


async def response_to(client: Any, more: str, pieces: AsyncIterator[bytes]) -> tuple[int, Any]:
    """Status and body of the response to a request that is written until the server has enough."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)

    async def write() -> None:
        writer.write(HEAD.format(path=PATH, more=more).encode())
        async for piece in pieces:
            writer.write(piece)
            await writer.drain()

    writing = asyncio.create_task(write())
    try:
        async with asyncio.timeout(SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            return int(head.split()[1]), json.loads(await reader.readexactly(length))
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        writer.close()


async def test_a_recording_declared_too_large_is_refused_unread(socket_client: Any) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    status, body = await response_to(socket_client, "content-length: 3000000\r\n", nothing())
    assert (status, body["error"]["code"]) == (413, "request_too_large")
    assert "3000000" in body["error"]["message"]


async def test_a_recording_without_end_is_refused_when_it_is_too_large(socket_client: Any) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while True:
            sent += len(part)
            yield f"{len(part):x}\r\n".encode() + part + b"\r\n"
            part = b"\0" * 65_536
            await asyncio.sleep(0.001)  # the pace of a quick line, not of this machine's memory

    status, body = await response_to(socket_client, "transfer-encoding: chunked\r\n", endless())
    assert (status, body["error"]["param"]) == (413, "file")
    assert "1000000" in body["error"]["message"]
    assert sent < 20_000_000
    assert (await socket_client.get("/health")).status_code == 200


async def test_a_body_that_stops_is_a_408(socket_client: Any) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b"--x\r\nContent-Disposition: form-data; "

    status, body = await response_to(socket_client, "content-length: 500\r\n", half())
    assert (status, body["error"]["code"]) == (408, "request_timeout")


async def test_a_stream_opens_before_its_first_segment(socket_client: Any, post: Make) -> None:
    model, server = socket_client.model, socket_client.server
    server.heartbeat = 0.01
    model.hold.set()
    running = asyncio.create_task(post(socket_client))
    await wait_until(model.entered)
    request = socket_client.build_request(
        "POST", PATH, data={"stream": "true"}, files={"file": forged_recordings.wav()}
    )
    answer = await socket_client.send(request, stream=True)  # while it waits for its turn
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = (line async for line in answer.aiter_lines() if line)
    assert (await anext(lines)).startswith(":")
    model.hold.clear()
    rest = [json.loads(line[6:]) async for line in lines if not line.startswith(":")]
    assert [event["type"] for event in rest] == ["transcript.text.done"]
    assert (await running).status_code == 200


async def test_an_error_of_an_open_stream_is_an_event(socket_client: Any, post: Make) -> None:
    model, server = socket_client.model, socket_client.server
    server.heartbeat = 0.01
    model.hold.set()
    running = asyncio.create_task(post(socket_client))
    await wait_until(model.entered)
    request = socket_client.build_request(
        "POST", PATH, data={"stream": "true"}, files={"file": forged_recordings.flac(10)}
    )
    answer = await socket_client.send(request, stream=True)
    leaving = asyncio.create_task(post(socket_client, stream="true"))
    await until_async(lambda: series(socket_client, "modelfleet_queue_depth") == 2, SECONDS)
    leaving.cancel()
    await until_async(lambda: series(socket_client, "modelfleet_queue_depth") == 1, SECONDS)
    model.hold.clear()
    last = [line async for line in answer.aiter_lines() if line][-1]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["param"], error["code"]) == ("file", "invalid_audio")
    assert (await running).status_code == 200
    assert series(socket_client, "modelfleet_in_flight") == 0


async def test_recordings_of_all_requests_share_scratch_space(
    serve: Serve, post: Make, counting_model: Make, make_wav: Callable[..., bytes]
) -> None:
    model = counting_model()
    async with serve(model, limits={"maxScratchBytes": 600_000}) as client:
        for _ in range(5):  # 64,000 bytes of upload and 128,000 of samples, given back each time
            assert (await post(client)).status_code == 200
        answer = await post(client, file=make_wav(5.0))
        await refused(answer, 429, None, "half of them for one caller")
        model.error = RuntimeError("failed")
        for _ in range(5):
            assert (await post(client)).status_code == 500
        model.error = None
        assert (await post(client)).status_code == 200
