"""The JSON of text completions (platform.openai.com/docs/api-reference/completions)."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_contract.api.completions import TextChunk, TextChunkChoice, TextCompletion
from fleet_server.generation.render import ChunkRenderer, usage
from fleet_server.generation.stream import Answer, Piece


class CompletionRenderer(ChunkRenderer):
    """A `text_completion`, whole or in events that are ones too. `echo` comes before the text."""

    def __init__(self, model: str, echo: str, *, include_usage: bool, tell_router: bool) -> None:
        super().__init__("cmpl-", model, include_usage=include_usage, tell_router=tell_router)
        self._echo = echo

    def whole(self, answer: Answer, text: str, finish: str) -> TextCompletion:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {"text": self._echo + text, "index": 0, "logprobs": None, "finish_reason": finish}
            ],
            "usage": usage(answer),
        }

    def opening(self) -> bytes:
        return self._event(_choice(self._echo, None)) if self._echo else b""

    def piece(self, piece: Piece) -> Iterator[bytes]:
        yield self._event(_choice(piece.text, piece.finish.value if piece.finish else None))

    def _chunk(self, choices: list[TextChunkChoice]) -> TextChunk:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def _choice(text: str, finish: str | None) -> TextChunkChoice:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
