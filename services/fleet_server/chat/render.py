"""The JSON of chat answers (platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_contract.api.chat import AssistantMessage, ChatChunk, ChatCompletion, ChunkChoice, Delta
from fleet_server.generation.render import ChunkRenderer, usage
from fleet_server.generation.stream import Answer, Piece


class ChatRenderer(ChunkRenderer):
    """A `chat.completion`, or its chunks."""

    def __init__(self, model: str, *, include_usage: bool, tell_router: bool) -> None:
        super().__init__("chatcmpl-", model, include_usage=include_usage, tell_router=tell_router)

    def whole(self, answer: Answer, text: str, finish: str) -> ChatCompletion:
        message: AssistantMessage = {"role": "assistant", "content": text, "refusal": None}
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
        return self._event(_choice({"role": "assistant", "content": ""}, None))

    def piece(self, piece: Piece) -> Iterator[bytes]:
        if piece.text:
            yield self._event(_choice({"content": piece.text}, None))
        if piece.finish is not None:
            yield self._event(_choice({}, piece.finish.value))

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
