"""Renders messages (docs.anthropic.com/en/api/messages and /streaming)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import orjson

from fleet_contract.api.message_events import (
    Content,
    MessageResponse,
    MessageUsage,
    StopReason,
    TextContent,
)
from fleet_contract.error_shapes import message_error
from fleet_contract.errors import FleetError
from fleet_server.generation.choices import Choice
from fleet_server.generation.pieces import (
    CallArguments,
    CallStart,
    Piece,
    Reasoning,
    Text,
    message_of,
)
from fleet_server.generation.render import Counts, Renderer
from fleet_server.generation.stream import Update
from fleet_server.generation.timings import Timings
from fleet_server.protocols import Finish

REASONS: dict[Finish, StopReason] = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
}
Kind = Literal["text", "thinking", "tool_use"]


class MessageRenderer(Renderer):
    """A `message`, or its events. A stream ends with the event `message_stop`, or `error`."""

    def __init__(self, model: str, prompt_tokens: int) -> None:
        super().__init__("msg_", model)
        self._prompt_tokens = prompt_tokens
        self._finish = Finish.STOP
        self._stop: str | None = None
        self._open: Kind | None = None
        self._blocks = 0

    def whole(self, choices: Sequence[Choice], counts: Counts) -> MessageResponse:
        [choice] = choices
        made = message_of(choice.pieces)
        content: list[Content] = []
        if made.reasoning:
            content.append({"type": "thinking", "thinking": made.reasoning, "signature": ""})
        if made.text or not (made.calls or made.reasoning):
            content.append(_text(made.text))
        for call in made.calls:
            # As it is: orjson reads no lone surrogates and no 1e999, which are valid JSON.
            arguments: Any = orjson.Fragment(call.arguments)
            content.append(
                {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}
            )
        reason = _reason(choice.finish, choice.stop)
        return self._message(content, reason, choice.stop, usage(counts))

    def opening(self, index: int) -> bytes:
        """The events before the first content block."""
        begun = self._message([], None, None, _usage(self._prompt_tokens, 0, 0))
        return event("message_start", message=begun) + event("ping")

    def update(self, update: Update) -> Iterator[bytes]:
        for piece in update.pieces:
            yield from self._piece(piece)
        self._finish = update.finish or self._finish
        self._stop = update.stop or self._stop

    def closing(self, counts: Counts, timings: Timings) -> Iterator[bytes]:
        if not self._blocks:
            yield from self._begin(_text(""))
        yield from self._end()
        reason = _reason(self._finish, self._stop)
        delta = {"stop_reason": reason, "stop_sequence": self._stop}
        yield event("message_delta", delta=delta, usage=usage(counts))
        yield event("message_stop")

    def failure(self, error: FleetError) -> bytes:
        return failure(error)

    def _piece(self, piece: Piece) -> Iterator[bytes]:
        match piece:
            case Text(text):
                if self._open != "text":
                    yield from self._begin(_text(""))
                yield self._delta({"type": "text_delta", "text": text})
            case Reasoning(text):
                if self._open != "thinking":
                    yield from self._begin({"type": "thinking", "thinking": "", "signature": ""})
                yield self._delta({"type": "thinking_delta", "thinking": text})
            case CallStart(_, id, name):
                yield from self._begin({"type": "tool_use", "id": id, "name": name, "input": {}})
            case CallArguments(_, text):
                yield self._delta({"type": "input_json_delta", "partial_json": text})

    def _begin(self, block: Content) -> Iterator[bytes]:
        """Begin a content block; the one before ends."""
        yield from self._end()
        self._open = block["type"]
        yield event("content_block_start", index=self._blocks, content_block=block)
        self._blocks += 1

    def _end(self) -> Iterator[bytes]:
        if self._open is not None:
            yield event("content_block_stop", index=self._blocks - 1)
            self._open = None

    def _delta(self, delta: Any) -> bytes:
        return event("content_block_delta", index=self._blocks - 1, delta=delta)

    def _message(
        self,
        content: list[Content],
        reason: StopReason | None,
        stop: str | None,
        used: MessageUsage,
    ) -> MessageResponse:
        return {
            "id": self._id, "type": "message", "role": "assistant", "model": self._model,
            "content": content, "stop_reason": reason, "stop_sequence": stop, "usage": used,
        }  # fmt: skip


def usage(counts: Counts) -> MessageUsage:
    """Token counts of a response."""
    return _usage(counts.prompt_tokens, counts.cached_tokens or 0, counts.completion_tokens)


def _usage(prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> MessageUsage:
    return {
        "input_tokens": prompt_tokens - cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached_tokens,
        "output_tokens": completion_tokens,
    }


def failure(error: FleetError) -> bytes:
    """The last event of a stream that failed."""
    return b"event: error\ndata: " + orjson.dumps(message_error(error)) + b"\n\n"


def event(kind: str, **more: Any) -> bytes:
    """A named event."""
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **more}) + b"\n\n"


def _text(text: str) -> TextContent:
    return {"type": "text", "text": text, "citations": None}


def _reason(finish: Finish, stop: str | None) -> StopReason:
    return "stop_sequence" if stop and finish is Finish.STOP else REASONS[finish]
