"""Renders text completions (platform.openai.com/docs/api-reference/completions)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet_contract.api.completions import TextChunk, TextChunkChoice, TextCompletion, TextLogprobs
from fleet_server.completions.echo import Echo, joined, text_logprobs
from fleet_server.generation.choices import Choice
from fleet_server.generation.logprobs import ScoredToken
from fleet_server.generation.pieces import text_of
from fleet_server.generation.render import ChunkRenderer, Counts, StreamUsage, usage
from fleet_server.generation.stream import Update
from fleet_server.protocols import TokenLogprobs


class CompletionRenderer(ChunkRenderer):
    """A `text_completion`; the events of a stream have the same form."""

    def __init__(
        self,
        model: str,
        echoes: Sequence[Echo],
        each: int,
        usage: StreamUsage,
        *,
        scored: bool = False,
    ) -> None:
        """`echoes` precede the `each` choices of each prompt; with `scored` tokens have their
        probabilities."""
        super().__init__("cmpl-", model, usage)
        self._echoes = echoes
        self._each = each
        self._scored = scored

    def whole(self, choices: Sequence[Choice], counts: Counts) -> TextCompletion:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {
                    "text": self._echo(each.index).text + text_of(each.pieces),
                    "index": each.index,
                    "logprobs": (
                        self._logprobs(each.index, each.logprobs, each.prompt_logprobs)
                        if self._scored
                        else None
                    ),
                    "finish_reason": each.finish.value,
                }
                for each in choices
            ],
            "usage": usage(counts),
        }

    def opening(self, index: int) -> bytes:
        text = self._echo(index).text
        return self._event(_choice(index, text, None)) if text else b""

    def update(self, update: Update) -> Iterator[bytes]:
        finish = update.finish.value if update.finish else None
        scores = None
        if update.logprobs or update.prompt_logprobs:
            scores = self._logprobs(update.index, update.logprobs, update.prompt_logprobs)
        yield self._event(_choice(update.index, update.text, finish, scores))

    def _echo(self, index: int) -> Echo:
        """The echo before the choice `index`."""
        return self._echoes[index // self._each]

    def _logprobs(
        self, index: int, tokens: Sequence[ScoredToken], prompt: Sequence[TokenLogprobs]
    ) -> TextLogprobs:
        echo = self._echo(index)
        made = text_logprobs(tokens, len(echo.text))
        return joined(echo.logprobs(prompt), made) if prompt else made

    def _chunk(self, choices: list[TextChunkChoice]) -> TextChunk:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def _choice(
    index: int, text: str, finish: str | None, scores: TextLogprobs | None = None
) -> TextChunkChoice:
    return {"text": text, "index": index, "logprobs": scores, "finish_reason": finish}
