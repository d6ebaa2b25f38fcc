"""A small OpenAI-compatible server that can send invalid responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
REQUEST_ID = {"x-request-id": "req-7"}


@dataclass
class Target:
    """`mode` selects the error; `bodies` are the bodies of the requests."""

    url: str = ""
    mode: str = "good"
    models: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    left: int = 0
    """Streams whose client left before their end."""


def sse(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def chunk(text: str, **more: Any) -> bytes:
    return sse({"choices": [{"index": 0, "delta": {"content": text}}], **more})


async def stream(target: Target) -> Any:
    yield sse({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    if target.mode != "empty":
        for piece in ("one", " two", " three"):
            await asyncio.sleep(0.005)
            yield chunk(piece)
    if target.mode == "stalled":
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            target.left += 1
            raise
    if target.mode == "half":
        yield sse({"error": {"message": "gone", "type": "api_error", "param": None, "code": None}})
        return
    if target.mode == "nonsense":
        yield b"data: {\n\n"
    if target.mode != "uncounted":
        yield sse({"choices": [], "usage": USAGE})
    if target.mode == "unmarked":
        yield sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    elif target.mode != "endless":
        yield b"data: [DONE]\n\n"


@pytest.fixture
def target(listen: Any) -> Iterator[Target]:
    found = Target()
    app = FastAPI(openapi_url=None)

    async def note(request: Request, body: Any) -> Response | None:
        found.bodies.append(body)
        found.headers.append(dict(request.headers))
        if found.mode == "busy":
            error = {"message": "secret", "type": "rate_limit_error", "code": "queue_full"}
            return JSONResponse({"error": error}, 429, REQUEST_ID | {"retry-after": "3"})
        if found.mode == "unknown":
            error = {"message": "secret", "type": "not_found_error", "code": "model_not_found"}
            return JSONResponse({"error": error}, 404, REQUEST_ID)
        if found.mode == "closed":
            error = {"message": "no key\x1b[2J", "type": "authentication_error"}
            return JSONResponse({"error": error}, 401, REQUEST_ID)
        if found.mode == "slow":
            await asyncio.sleep(30)
        if found.mode == "html":
            return Response("<html>", 502)
        return None

    @app.get("/v1/models")
    async def models() -> Response:
        return JSONResponse({"object": "list", "data": found.models})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.json()
        if (refused := await note(request, body)) is not None:
            return refused
        if body.get("stream"):
            return StreamingResponse(stream(found), media_type="text/event-stream")
        message = {"role": "assistant", "content": "" if found.mode == "empty" else "one two"}
        return JSONResponse({"choices": [{"message": message}], "usage": USAGE})

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        body = await request.json()
        found.at_once += 1
        found.most_at_once = max(found.most_at_once, found.at_once)
        await asyncio.sleep(0.01)
        found.at_once -= 1
        if (refused := await note(request, body)) is not None:
            return refused
        vector: Any = "AACAPwAAAEA=" if body["encoding_format"] == "base64" else [1.0, 2.0]
        if found.mode == "zero":
            vector = [0.0, 0.0]
        rows = [{"index": index, "embedding": vector} for index in range(len(body["input"]))]
        return JSONResponse({"data": rows[found.mode == "short" :], "usage": USAGE})

    @app.post("/v1/audio/{kind}")
    async def audio(request: Request, kind: str) -> Response:
        async with request.form() as form:
            given: dict[str, Any] = {
                name: value for name, value in form.items() if isinstance(value, str)
            }
            upload: Any = form["file"]
            given |= {"kind": kind, "size": len(await upload.read()), "name": upload.filename}
        if (refused := await note(request, given)) is not None:
            return refused
        text = "" if found.mode == "empty" else " hello"
        match given.get("response_format"):
            case "text":
                return Response(f"{text}\n", media_type="text/plain")
            case "srt" | "vtt" as form:
                times = "00:00:00,000 --> 00:00:02,500"
                head = "1" if form == "srt" else "WEBVTT\n"
                return Response(f"{head}\n{times}\n{text}\n", media_type="text/plain")
        return JSONResponse({"text": text, "duration": 2.5, "segments": []})

    with listen(app) as port:
        found.url = f"http://127.0.0.1:{port}"
        yield found
