"""The OpenAI routes of one model, in the shapes `modelfleet bench` reads.

Every function takes a decoded request and returns the body of the answer, or the events of a
stream. ValueError, KeyError and TypeError mean a bad request.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

from fleet_bench.reference.protocols import ReferenceChat, ReferenceEmbedding, ReferenceSpeech

Body = dict[str, Any]
DEFAULT_MAX_TOKENS = 512
UNFINISHED = "\ufffd"
"""What a decoder writes for a character that further tokens complete."""


def chat(model: ReferenceChat, asked: Body) -> Body:
    """The answer of POST /v1/chat/completions."""
    prompt = model.prompt(asked["messages"])
    tokens = list(model.generate(prompt, _max_tokens(asked)))
    message = {"role": "assistant", "content": model.decode(tokens)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"object": "chat.completion", "choices": [choice], "usage": _usage(prompt, tokens)}


def chat_events(model: ReferenceChat, asked: Body) -> Iterator[Body]:
    """The events of the same answer with `stream`, each as soon as its text is certain."""
    prompt = model.prompt(asked["messages"])
    tokens: list[int] = []
    sent = ""
    for token in model.generate(prompt, _max_tokens(asked)):
        tokens.append(token)
        text = model.decode(tokens)
        if not text.endswith(UNFINISHED) and len(text) > len(sent):
            yield _chunk({"content": text[len(sent) :]})
            sent = text
    if rest := model.decode(tokens)[len(sent) :]:
        yield _chunk({"content": rest})
    yield _chunk({}, finish_reason="stop")
    yield {"object": "chat.completion.chunk", "choices": [], "usage": _usage(prompt, tokens)}


def tokenize(model: ReferenceChat, asked: Body) -> Body:
    """The answer of POST /tokenize, with `content` as llama.cpp's server takes it."""
    return {"tokens": model.encode(asked["content"])}


def embeddings(model: ReferenceEmbedding, asked: Body) -> Body:
    """The answer of POST /v1/embeddings."""
    given = asked["input"]
    vectors, tokens = model.embed([given] if isinstance(given, str) else given)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(vector, asked)}
        for index, vector in enumerate(vectors)
    ]
    return {"object": "list", "data": data, "usage": {"prompt_tokens": tokens}}


def speech(model: ReferenceSpeech, fields: dict[str, Any], translate: bool) -> Body:
    """The verbose_json answer of POST /v1/audio/transcriptions or translations."""
    text, seconds = model.transcribe(fields["file"], fields.get("language"), translate)
    return {"text": text, "duration": seconds, "segments": []}


def _chunk(delta: Body, finish_reason: str | None = None) -> Body:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def _max_tokens(asked: Body) -> int:
    return int(asked.get("max_tokens") or DEFAULT_MAX_TOKENS)


def _usage(prompt: list[int], tokens: list[int]) -> Body:
    return {"prompt_tokens": len(prompt), "completion_tokens": len(tokens)}


def _vector(vector: list[float], asked: Body) -> Any:
    if asked.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector
