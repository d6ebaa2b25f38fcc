"""Renders text completions (platform.openai.com/docs/api-reference/completions)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet_contract.api.completions import TextChunk, TextChunkChoice, TextCompletion
from fleet_server.generation.pieces import Piece, text_of
from fleet_server.generation.render import ChunkRenderer, usage
from fleet_server.generation.stream import TokenStream, Update
from fleet_server.protocols import Finish


class CompletionRenderer(ChunkRenderer):
    """A `text_completion`; the events of a stream have the same form. `echo` precedes the text."""

    def __init__(self, model: str, echo: str, *, include_usage: bool, usage_comment: bool) -> None:
        super().__init__("cmpl-", model, include_usage=include_usage, usage_comment=usage_comment)
        self._echo = echo

    def whole(self, stream: TokenStream, pieces: Sequence[Piece], finish: Finish) -> TextCompletion:
        text = self._echo + text_of(pieces)
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {"text": text, "index": 0, "logprobs": None, "finish_reason": finish.value}
            ],
            "usage": usage(stream),
        }

    def opening(self) -> bytes:
        return self._event(_choice(self._echo, None)) if self._echo else b""

    def update(self, update: Update) -> Iterator[bytes]:
        yield self._event(_choice(update.text, update.finish.value if update.finish else None))

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
