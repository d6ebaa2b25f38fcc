"""Renders chat completions (platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleet_contract.api.chat import (
    AssistantMessage,
    CallDelta,
    ChatChunk,
    ChatCompletion,
    ChatLogprobs,
    ChunkChoice,
    Delta,
)
from fleet_server.generation.choices import Choice
from fleet_server.generation.logprobs import ScoredToken
from fleet_server.generation.pieces import (
    CallArguments,
    CallStart,
    Piece,
    Reasoning,
    Text,
    message_of,
)
from fleet_server.generation.render import ChunkRenderer, Counts, StreamUsage, usage
from fleet_server.generation.stream import Update


class ChatRenderer(ChunkRenderer):
    """A `chat.completion`, or its chunks."""

    def __init__(self, model: str, usage: StreamUsage, *, scored: bool = False) -> None:
        """`scored`: tokens have their probabilities."""
        super().__init__("chatcmpl-", model, usage)
        self._scored = scored

    def whole(self, choices: Sequence[Choice], counts: Counts) -> ChatCompletion:
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "choices": [
                {
                    "index": each.index,
                    "message": _message(each.pieces),
                    "logprobs": (
                        {"content": [token.json() for token in each.logprobs], "refusal": None}
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
        """The first event of a choice, which gives the role."""
        return self._event(_choice(index, {"role": "assistant", "content": ""}, None))

    def update(self, update: Update) -> Iterator[bytes]:
        deltas: list[tuple[Delta, str | None]] = [(_delta(piece), None) for piece in update.pieces]
        if update.finish is not None:
            deltas.append(({}, update.finish.value))
        scores = _logprobs(update.logprobs) if update.logprobs else None
        for delta, finish in deltas:
            yield self._event(_choice(update.index, delta, finish, scores))
            scores = None

    def _chunk(self, choices: list[ChunkChoice]) -> ChatChunk:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }


def _message(pieces: Sequence[Piece]) -> AssistantMessage:
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
    return message


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


def _choice(
    index: int, delta: Delta, finish: str | None, scores: ChatLogprobs | None = None
) -> ChunkChoice:
    return {"index": index, "delta": delta, "logprobs": scores, "finish_reason": finish}


def _logprobs(tokens: Sequence[ScoredToken]) -> ChatLogprobs:
    return {"content": [token.body() for token in tokens], "refusal": None}
