"""Renders responses (platform.openai.com/docs/api-reference/responses and -streaming)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import orjson

from fleet_contract.api.responses import (
    Failure,
    OutputMessage,
    OutputText,
    Response,
    ResponseUsage,
)
from fleet_contract.errors import FleetError
from fleet_server.generation.pieces import Piece, text_of
from fleet_server.generation.render import Renderer
from fleet_server.generation.stream import TokenStream, Update
from fleet_server.protocols import Finish
from fleet_server.responses.request import ResponsesRequest

Status = Literal["completed", "incomplete"]


class ResponseRenderer(Renderer):
    """A `response`, or its events. A stream ends with the event `response.completed`,
    `response.incomplete` or `response.failed`; there is no `[DONE]`."""

    def __init__(self, model: str, parsed: ResponsesRequest) -> None:
        super().__init__("resp_", model)
        self._parsed = parsed
        self._item = f"msg_{uuid.uuid4().hex}"
        self._text: list[str] = []
        self._status: Status = "completed"
        self._events = 0

    def whole(self, stream: TokenStream, pieces: Sequence[Piece], finish: Finish) -> Response:
        status = _status(finish)
        return self._response(status, self._message(status, text_of(pieces)), usage(stream))

    def opening(self) -> bytes:
        """The events before the first text."""
        begun = self._response("in_progress")
        message = self._message("in_progress", None)
        events = [
            self._event("response.created", response=begun),
            self._event("response.in_progress", response=begun),
            self._event("response.output_item.added", output_index=0, item=message),
            self._in_part("response.content_part.added", part=_part("")),
        ]
        return b"".join(events)

    def update(self, update: Update) -> Iterator[bytes]:
        if update.text:
            self._text.append(update.text)
            yield self._in_part("response.output_text.delta", delta=update.text, logprobs=[])
        if update.finish is not None:
            self._status = _status(update.finish)

    def closing(self, stream: TokenStream) -> Iterator[bytes]:
        text = "".join(self._text)
        message = self._message(self._status, text)
        yield self._in_part("response.output_text.done", text=text, logprobs=[])
        yield self._in_part("response.content_part.done", part=_part(text))
        yield self._event("response.output_item.done", output_index=0, item=message)
        whole = self._response(self._status, message, usage(stream))
        yield self._event(f"response.{self._status}", response=whole)

    def failure(self, error: FleetError) -> bytes:
        failed: Failure = {"code": "server_error", "message": error.message}
        message = self._message("incomplete", "".join(self._text))
        whole = self._response("failed", message, error=failed)
        return self._event("response.failed", response=whole)

    def _in_part(self, kind: str, **more: Any) -> bytes:
        return self._event(kind, item_id=self._item, output_index=0, content_index=0, **more)

    def _event(self, kind: str, **more: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._events, **more}
        self._events += 1
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"

    def _message(
        self, status: Literal["in_progress", "completed", "incomplete"], text: str | None
    ) -> OutputMessage:
        return {
            "id": self._item,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [] if text is None else [_part(text)],
        }

    def _response(
        self,
        status: Literal["in_progress", "completed", "incomplete", "failed"],
        message: OutputMessage | None = None,
        used: ResponseUsage | None = None,
        error: Failure | None = None,
    ) -> Response:
        given, options = self._parsed.given, self._parsed.options
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": (
                {"reason": "max_output_tokens"} if status == "incomplete" else None
            ),
            "instructions": given.instructions,
            "max_output_tokens": given.max_output_tokens,
            "model": self._model,
            "output": [] if message is None else [message],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": options.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": options.top_p,
            "truncation": "disabled",
            "user": given.user,
            "metadata": given.metadata or {},
            "usage": used,
        }


def early_failure(error: FleetError) -> bytes:
    """The event `error` of a stream that fails before `response.created`."""
    body = error.body()["error"]
    data = {
        "type": "error", "sequence_number": 0, "code": body["code"], "message": body["message"],
        "param": body["param"],
    }  # fmt: skip
    return b"event: error\ndata: " + orjson.dumps(data) + b"\n\n"


def usage(stream: TokenStream) -> ResponseUsage:
    """Token counts of a generation."""
    return {
        "input_tokens": stream.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": stream.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": stream.prompt_tokens + stream.completion_tokens,
    }


def _part(text: str) -> OutputText:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _status(finish: Finish) -> Status:
    return "incomplete" if finish == Finish.LENGTH else "completed"
