"""OpenAI routes of one reference model.

Each function takes a decoded request and returns the body of the response, or the events of a
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
"""The replacement character of a decoder for an incomplete UTF-8 sequence."""


def chat(model: ReferenceChat, request: Body) -> Body:
    """POST /v1/chat/completions."""
    prompt = model.prompt(request["messages"])
    tokens = list(model.generate(prompt, _max_tokens(request)))
    message = {"role": "assistant", "content": model.decode(tokens)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"object": "chat.completion", "choices": [choice], "usage": _usage(prompt, tokens)}


def chat_events(model: ReferenceChat, request: Body) -> Iterator[Body]:
    """POST /v1/chat/completions with `stream`: an event as soon as its characters are complete."""
    prompt = model.prompt(request["messages"])
    tokens: list[int] = []
    sent = ""
    for token in model.generate(prompt, _max_tokens(request)):
        tokens.append(token)
        text = model.decode(tokens)
        if not text.endswith(UNFINISHED) and len(text) > len(sent):
            yield _chunk({"content": text[len(sent) :]})
            sent = text
    if rest := model.decode(tokens)[len(sent) :]:
        yield _chunk({"content": rest})
    yield _chunk({}, finish_reason="stop")
    yield {"object": "chat.completion.chunk", "choices": [], "usage": _usage(prompt, tokens)}


def tokenize(model: ReferenceChat, request: Body) -> Body:
    """POST /tokenize with `content`, as at llama.cpp's server."""
    return {"tokens": model.encode(request["content"])}


def embeddings(model: ReferenceEmbedding, request: Body) -> Body:
    """POST /v1/embeddings."""
    given = request["input"]
    vectors, tokens = model.embed([given] if isinstance(given, str) else given)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(vector, request)}
        for index, vector in enumerate(vectors)
    ]
    return {"object": "list", "data": data, "usage": {"prompt_tokens": tokens}}


def speech(model: ReferenceSpeech, fields: dict[str, Any], translate: bool) -> Body:
    """POST /v1/audio/transcriptions or translations, as verbose_json."""
    text, seconds = model.transcribe(fields["file"], fields.get("language"), translate)
    return {"text": text, "duration": seconds, "segments": []}


def _chunk(delta: Body, finish_reason: str | None = None) -> Body:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def _max_tokens(request: Body) -> int:
    return int(request.get("max_tokens") or DEFAULT_MAX_TOKENS)


def _usage(prompt: list[int], tokens: list[int]) -> Body:
    return {"prompt_tokens": len(prompt), "completion_tokens": len(tokens)}


def _vector(vector: list[float], request: Body) -> Any:
    if request.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return vector
