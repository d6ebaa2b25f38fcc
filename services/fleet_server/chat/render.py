"""Renders chat completions (platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet_contract.api.chat import (
    AssistantMessage,
    CallDelta,
    ChatChunk,
    ChatCompletion,
    ChunkChoice,
    Delta,
)
from fleet_server.generation.pieces import (
    CallArguments,
    CallStart,
    Piece,
    Reasoning,
    Text,
    message_of,
)
from fleet_server.generation.render import ChunkRenderer, usage
from fleet_server.generation.stream import TokenStream, Update
from fleet_server.protocols import Finish


class ChatRenderer(ChunkRenderer):
    """A `chat.completion`, or its chunks."""

    def __init__(self, model: str, *, include_usage: bool, usage_comment: bool) -> None:
        super().__init__(
            "chatcmpl-", model, include_usage=include_usage, usage_comment=usage_comment
        )

    def whole(self, stream: TokenStream, pieces: Sequence[Piece], finish: Finish) -> ChatCompletion:
        made = message_of(pieces)
        message: AssistantMessage = {
            "role": "assistant",
            "content": None if made.calls and not made.text else made.text,
            "refusal": None,
        }
        if made.reasoning:
            message["reasoning_content"] = message["reasoning"] = made.reasoning
        if made.calls:
            message["tool_calls"] = [
                {
                    "id": each.id,
                    "type": "function",
                    "function": {"name": each.name, "arguments": each.arguments},
                }
                for each in made.calls
            ]
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish.value}
            ],
            "usage": usage(stream),
        }

    def opening(self) -> bytes:
        """The first event, which gives the role."""
        return self._event(_choice({"role": "assistant", "content": ""}, None))

    def update(self, update: Update) -> Iterator[bytes]:
        for piece in update.pieces:
            yield self._event(_choice(_delta(piece), None))
        if update.finish is not None:
            yield self._event(_choice({}, update.finish.value))

    def _chunk(self, choices: list[ChunkChoice]) -> ChatChunk:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def _delta(piece: Piece) -> Delta:
    match piece:
        case Text(text):
            return {"content": text}
        case Reasoning(text):
            return {"reasoning_content": text, "reasoning": text}
        case CallStart(index, id, name):
            start: CallDelta = {
                "index": index, "id": id, "type": "function",
                "function": {"name": name, "arguments": ""},
            }  # fmt: skip
            return {"tool_calls": [start]}
        case CallArguments(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def _choice(delta: Delta, finish: str | None) -> ChunkChoice:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
