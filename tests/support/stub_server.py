"""A fake model server as a process: `stub_server.py PORT MODEL TASK [HOST]`.

The header `x-plan` (JSON) of a request determines the response: `delay` before the head, `status`,
`pieces` of a stream with a `gap` after each, `step` to send each piece only after a `POST
/_step/{id}`, `cut` to omit the end, `exit` to exit before the piece with that number, `die` to exit
before the head, `large` bytes in one response. `/_seen/{id}` is the state of the request with that
id in its header `x-id`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

PORT, MODEL, TASK = int(sys.argv[1]), sys.argv[2], sys.argv[3]
HOST = sys.argv[4] if len(sys.argv) > 4 else "127.0.0.1"
seen: dict[str, dict[str, Any]] = {}
steps: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))


class Cut(StreamingResponse):
    """A response that ends without the last chunk of its body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for piece in self.body_iterator:
            await send({"type": "http.response.body", "body": piece, "more_body": True})


async def consume(request: Request, record: dict[str, Any]) -> None:
    digest = hashlib.sha256()
    edges = b""
    try:
        async for piece in request.stream():
            digest.update(piece)
            record["length"] += len(piece)
            edges += piece
            if len(edges) > 4000:
                edges = edges[:2000] + edges[-2000:]
    except ClientDisconnect:
        record["state"] = "left"
        raise
    record["sha256"] = digest.hexdigest()
    record["asked"] = asked(edges)


def asked(body: bytes) -> str:
    """The model of a body: a short JSON object, or a form with it near the start or the end."""
    try:
        return str(json.loads(body).get("model"))
    except ValueError:
        found = re.search(rb'name="model"\r\n\r\n(.*?)\r\n', body)
        return found[1].decode() if found else ""


async def pieces(plan: dict[str, Any], record: dict[str, Any]) -> AsyncIterator[bytes]:
    try:
        for number, piece in enumerate(plan["pieces"]):
            if plan.get("exit") == number:
                os._exit(1)
            if plan.get("step"):
                await steps[record["id"]].acquire()
            yield piece.encode()
            await asyncio.sleep(plan.get("gap", 0))
        record["state"] = "finished"
    except asyncio.CancelledError:
        record["state"] = "cancelled"
        raise


async def wait(seconds: float, request: Request, record: dict[str, Any]) -> None:
    """Sleep, but detect a disconnect of the client, as the real servers do."""
    gone = asyncio.ensure_future(request.receive())
    done, _ = await asyncio.wait({gone}, timeout=seconds)
    gone.cancel()
    if done:
        record["state"] = "cancelled"


async def state(request: Request) -> Response:
    return JSONResponse(seen.get(request.path_params["identifier"], {}))


async def step(request: Request) -> Response:
    steps[request.path_params["identifier"]].release()
    return Response()


async def models(request: Request) -> Response:
    entry = {
        "id": MODEL, "object": "model", "created": 1700000000, "owned_by": "stub", "task": TASK,
        "engine": "openvino", "engine_reason": "cpu", "device": "cpu", "state": "ready",
        "dimensions": 384 if TASK == "embedding" else None, "context_length": 512,
    }  # fmt: skip
    return JSONResponse({"object": "list", "data": [entry]})


async def metrics(request: Request) -> Response:
    return PlainTextResponse(
        "# HELP stub_requests_total Requests.\n# TYPE stub_requests_total counter\n"
        f'stub_requests_total{{model="{MODEL}"}} 3.0\n'
        "# HELP process_open_fds Files.\n# TYPE process_open_fds gauge\nprocess_open_fds 7.0\n"
    )


async def readyz(request: Request) -> Response:
    return JSONResponse({"status": "ready"})


async def answer(request: Request) -> Response:
    plan = json.loads(request.headers.get("x-plan", "{}"))
    record: dict[str, Any] = {
        "path": request.path_params["path"], "query": request.url.query,
        "headers": list(request.headers.items()), "length": 0, "state": "running",
        "id": request.headers.get("x-id", ""),
    }  # fmt: skip
    seen[record["id"]] = record
    if "early" in plan:
        return JSONResponse({"early": True}, plan["early"], {"connection": "close"})
    await consume(request, record)
    if "die" in plan:
        os._exit(1)
    if delay := plan.get("delay"):
        await wait(delay, request, record)
    if record["state"] == "cancelled":
        return Response(status_code=499)
    if "pieces" in plan:
        kind = Cut if plan.get("cut") else StreamingResponse
        return kind(pieces(plan, record), media_type="text/event-stream")
    record["state"] = "finished"
    headers = {"x-modelfleet-endpoint": "a lie", "x-modelfleet-queue-ms": "1.5", "x-own": "kept"}
    if "large" in plan:
        return Response(b"x" * plan["large"], media_type="application/octet-stream")
    body = {name: record[name] for name in ("length", "sha256", "asked")} | {"model": MODEL}
    if "usage" in plan:
        body["usage"] = plan["usage"]
    if "told" in plan:
        headers["x-modelfleet-usage"] = json.dumps(plan["told"])
    return JSONResponse(body, plan.get("status", 200), headers)


# Not FastAPI: importing it takes most of the start time, and tests start many of these.
app = Starlette(
    routes=[
        Route("/_seen/{identifier}", state),
        Route("/_step/{identifier}", step, methods=["POST"]),
        Route("/v1/models", models),
        Route("/metrics", metrics),
        Route("/readyz", readyz),
        Route("/{path:path}", answer, methods=["POST"]),
    ]
)

uvicorn.run(app, host=HOST, port=PORT, log_level="critical", loop="uvloop")
