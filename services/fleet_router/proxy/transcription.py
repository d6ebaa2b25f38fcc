"""Transcribes the recordings of chats for models that do not hear.

Each recording becomes a request of the same caller to the fleet's speech model. It passes through
the whole router: key, limits, waiting for a server, metrics and usage are those of any
transcription.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import orjson
from fastapi import Request
from starlette.types import ASGIApp, Message

from fleet_contract.endpoints import main_path
from fleet_contract.errors import (
    BadRequest,
    FleetError,
    NotReady,
    QueueFull,
    Timeout,
    TooLarge,
    UpstreamFailed,
)
from fleet_contract.spec import Engine, ModelSpec, Task
from fleet_router.request.body import WholeBody
from fleet_router.request.envelope import Envelope, inspect_json
from fleet_router.request.recordings import RecordedChat, Recording
from fleet_router.routing.select import join_names
from fleet_router.routing.table import RouteTable
from fleet_web.body import THREAD_BYTES
from fleet_web.tracing import CONTEXT

CHAT_PATH = main_path(Task.CHAT)
SPEECH_PATH = main_path(Task.SPEECH)
KEPT_HEADERS = frozenset({b"authorization", b"x-api-key", b"host", *CONTEXT})
"""Headers of the chat that a transcription has too."""
MOST_BYTES = 1024 * 1024
"""Of a response with a text."""
ERRORS: dict[int, type[FleetError]] = {
    400: BadRequest, 413: TooLarge, 429: QueueFull, 503: NotReady, 504: Timeout,
}  # fmt: skip
"""By the status of a server; others are failures of the server."""


def needs_transcription(path: str, spec: ModelSpec, envelope: Envelope) -> bool:
    """Whether a request has recordings that its model does not take. Servers of others, which may
    hear, get the request as it is."""
    if path != CHAT_PATH or not envelope.cost.recordings:
        return False
    return not spec.is_foreign and spec.engine is not Engine.REMOTE


def speech_models(
    table: RouteTable, chosen: str | None, may_use: Callable[[str], bool]
) -> list[str]:
    """The ids of the models that may transcribe: the `chosen` one, or those that the caller may
    use."""
    if chosen is not None:
        return [chosen]
    return [route.model for route in table.of_task(Task.SPEECH) if may_use(route.model)]


def _only(models: Sequence[str]) -> str:
    """The model that transcribes. Raises BadRequest if there are several."""
    if len(models) == 1:
        return models[0]
    raise BadRequest(
        f"This fleet has several models that transcribe ({join_names(models)}), and none is set "
        f"for the recordings in chats (TRANSCRIPTION_MODEL of the router); transcribe them with "
        f"{SPEECH_PATH}.",
        param="messages",
    )


class Transcriber:
    """`app` is the router, as its clients reach it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def replace(
        self, request: Request, envelope: Envelope, models: Sequence[str], *, prefix: bool
    ) -> Envelope:
        """The request with texts in place of its recordings; `models` are `speech_models`, `prefix`
        as in `open_envelope`.

        Raises FleetError, with the place of a recording as `param`, and ClientDisconnect.
        """
        body = envelope.body
        if not isinstance(body, WholeBody):
            return envelope
        size = len(body.data)
        body.memory.acquire(2 * size)  # the document, and the recordings within it
        try:
            chat = await _in_thread(size, lambda: RecordedChat(body.data))
            if not chat.recordings:
                return envelope
            model = _only(models)
            texts = [await self._text(request, each, model) for each in chat.recordings]
            data = await _in_thread(size, lambda: chat.with_texts(texts))
        finally:
            body.memory.free(2 * size)
        body.memory.acquire(len(data))
        body.data = data
        body.memory.free(size)
        _, cost = await _in_thread(len(data), lambda: inspect_json(data, prefix))
        return envelope._replace(cost=cost)

    async def _text(self, request: Request, recording: Recording, model: str) -> str:
        boundary = secrets.token_hex(16).encode()
        form = _form(boundary, model, recording)
        response = _Response()
        try:
            await self._app(
                _scope(request, boundary, len(form)), _receiver(request, form), response
            )
        except BadRequest as refused:
            raise _untranscribed(refused, refused.message, recording.place) from None
        found = response.document()
        if response.status == 200 and isinstance(found.get("text"), str):
            return str(found["text"]).strip()
        error = found.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        failure = ERRORS.get(response.status, UpstreamFailed)("", retry_after=response.retry_after)
        raise _untranscribed(failure, str(message or "its server failed"), recording.place)


class _Response:
    """Collects a response. An ASGI `send`."""

    def __init__(self) -> None:
        self.status = 0
        self.retry_after: float | None = None
        """Seconds, None without the header."""
        self._data = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.retry_after = _seconds(message["headers"])
        elif message["type"] == "http.response.body":
            self._data += message.get("body", b"")
            if len(self._data) > MOST_BYTES:
                raise UpstreamFailed("The text of a recording is too long.")

    def document(self) -> dict[str, Any]:
        """The JSON object of the response, empty if it is none."""
        with suppress(orjson.JSONDecodeError):
            found = orjson.loads(self._data)
            if isinstance(found, dict):
                return found
        return {}


def _seconds(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Those of `Retry-After`, which may also be a date."""
    found = next((value for name, value in headers if name.lower() == b"retry-after"), b"")
    return float(found) if found.isdigit() and len(found) < 6 else None


async def _in_thread(size: int, work: Callable[[], Any]) -> Any:
    """The result of work with `size` bytes."""
    return await asyncio.to_thread(work) if size > THREAD_BYTES else work()


def _form(boundary: bytes, model: str, recording: Recording) -> bytes:
    """A multipart form with a recording."""
    return b"".join([
        b'--%b\r\ncontent-disposition: form-data; name="model"\r\n\r\n%b\r\n'
        % (boundary, model.encode()),
        b'--%b\r\ncontent-disposition: form-data; name="file"; filename="recording.%b"\r\n\r\n'
        % (boundary, recording.format.encode()),
        recording.data, b"\r\n--%b--\r\n" % boundary,
    ])  # fmt: skip


def _scope(request: Request, boundary: bytes, length: int) -> dict[str, Any]:
    """The scope of a request of the same client."""
    kept = [header for header in request.scope["headers"] if header[0] in KEPT_HEADERS]
    return {
        **request.scope, "path": SPEECH_PATH, "raw_path": SPEECH_PATH.encode(),
        "query_string": b"",
        "headers": [
            *kept,
            (b"content-type", b"multipart/form-data; boundary=" + boundary),
            (b"content-length", str(length).encode()),
        ],
    }  # fmt: skip


def _receiver(request: Request, form: bytes) -> Callable[[], Any]:
    """An ASGI `receive` that gives the form, and then what the client does."""
    left = [form]

    async def receive() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await request.receive()

    return receive


def _untranscribed(kind: FleetError, reason: str, place: str) -> FleetError:
    """The error for a recording, of the kind of another error."""
    return type(kind)(
        f"The recording {place!r} could not be transcribed: {reason}", param=place,
        code=kind.code, retry_after=kind.retry_after,
    )  # fmt: skip
