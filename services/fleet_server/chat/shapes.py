"""The JSON of chat answers (platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import orjson

from fleet_contract.api.base import ErrorBody
from fleet_contract.api.chat import (
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    ChatUsage,
    ChunkChoice,
    Delta,
)
from fleet_contract.errors import FleetError
from fleet_server.chat.answer import Answer, Piece


class Shapes:
    """Builds the objects of one answer, which share id, time and model."""

    def __init__(self, model: str, include_usage: bool, *, tell_router: bool = False) -> None:
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = model
        self._include_usage = include_usage
        self._tell_router = tell_router

    def whole(self, answer: Answer, text: str, finish: str) -> ChatCompletion:
        """A `chat.completion`."""
        message: AnswerMessage = {"role": "assistant", "content": text, "refusal": None}
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            ],
            "usage": usage(answer),
        }

    def opening(self) -> bytes:
        """The first event, which names the role."""
        return self._event({"role": "assistant", "content": ""}, None)

    def piece(self, piece: Piece) -> Iterator[bytes]:
        """Events for new text and for the end."""
        if piece.text:
            yield self._event({"content": piece.text}, None)
        if piece.finish is not None:
            yield self._event({}, piece.finish.value)

    def closing(self, answer: Answer) -> Iterator[bytes]:
        """Usage where it was asked for, in a comment where only the router did; the end mark."""
        if self._include_usage:
            chunk = self._chunk([])
            chunk["usage"] = usage(answer)
            yield sse(chunk)
        elif self._tell_router:
            yield b": usage " + orjson.dumps(usage(answer)) + b"\n\n"
        yield b"data: [DONE]\n\n"

    def _event(self, delta: Delta, finish: str | None) -> bytes:
        chunk = self._chunk(
            [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        )
        if self._include_usage:
            chunk["usage"] = None
        return sse(chunk)

    def _chunk(self, choices: list[ChunkChoice]) -> ChatChunk:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def usage(answer: Answer) -> ChatUsage:
    """Token counts of an answer."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def failure(error: FleetError) -> bytes:
    """The event that ends a stream which failed half-way; no end mark follows."""
    return sse(error.body())


def sse(data: ChatChunk | ErrorBody) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
