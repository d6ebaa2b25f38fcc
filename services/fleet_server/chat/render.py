"""Renders chat completions (platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_contract.api.chat import AssistantMessage, ChatChunk, ChatCompletion, ChunkChoice, Delta
from fleet_server.generation.render import ChunkRenderer, usage
from fleet_server.generation.stream import TextUpdate, TokenStream


class ChatRenderer(ChunkRenderer):
    """A `chat.completion`, or its chunks."""

    def __init__(self, model: str, *, include_usage: bool, usage_comment: bool) -> None:
        super().__init__(
            "chatcmpl-", model, include_usage=include_usage, usage_comment=usage_comment
        )

    def whole(self, stream: TokenStream, text: str, finish: str) -> ChatCompletion:
        message: AssistantMessage = {"role": "assistant", "content": text, "refusal": None}
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
            ],
            "usage": usage(stream),
        }

    def opening(self) -> bytes:
        """The first event, which gives the role."""
        return self._event(_choice({"role": "assistant", "content": ""}, None))

    def update(self, update: TextUpdate) -> Iterator[bytes]:
        if update.text:
            yield self._event(_choice({"content": update.text}, None))
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


def _choice(delta: Delta, finish: str | None) -> ChunkChoice:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
