"""What the router reads of a JSON body besides its model: how heavy it is and how it begins. Pure.

`envelope` peeks once; `balance` weighs servers by `cost` and finds the one that has seen `prefix`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

PROMPT_BYTES = 2048
"""Bytes of a prompt that weigh as much as one request: about 500 tokens to read."""
NEW_TOKENS = 128
"""New tokens that do: writing is some ten times dearer than reading."""
DEFAULT_NEW_TOKENS = 256
IMAGE_COST = 2.0
AUDIO_BYTES = 512 * 1024
"""Bytes of a recording that do: half a minute, compressed."""
MOST = 1000.0
LEADING_CHARS = 1024
"""Characters of each leading text that count: the rest of a long one changes nothing."""


class RequestCost(NamedTuple):
    """`cost` is 1 for a small request; `prefix` is b"" where nothing could be shared; `images`
    counts those in its messages."""

    streams: bool = False
    units: float = 1.0
    prefix: bytes = b""
    images: int = 0


def of_upload(length: int | None) -> RequestCost:
    """A form: its recording's bytes stand for seconds."""
    return RequestCost(units=min(MOST, 1.0 + (length or 0) / AUDIO_BYTES))


def of_json(body: dict[str, Any], size: int, prefix: bool = True) -> RequestCost:
    """A JSON body of `size` bytes; wrong types in it are for the model server to refuse."""
    streams = body.get("stream") is True
    leading = _digest(body) if prefix else b""
    messages = body.get("messages")
    if not isinstance(messages, list):
        cost = 1.0 + size / PROMPT_BYTES
        if "prompt" in body or "max_output_tokens" in body:
            cost += _new_tokens(body) / NEW_TOKENS
        return RequestCost(streams, min(MOST, cost), leading)
    images, image_bytes = _images(messages)
    cost = 1.0 + (size - image_bytes) / PROMPT_BYTES
    cost += IMAGE_COST * images + _new_tokens(body) / NEW_TOKENS
    return RequestCost(streams, min(MOST, cost), leading, images)


def _digest(body: dict[str, Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    begun = False
    for piece in _leading(body):
        begun = True
        digest.update(piece)
    return digest.digest() if begun else b""


def _new_tokens(body: dict[str, Any]) -> int:
    for name in ("max_completion_tokens", "max_output_tokens", "max_tokens", "n_predict"):
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return min(value, 100_000)
    return DEFAULT_NEW_TOKENS


def _leading(body: dict[str, Any]) -> Iterator[bytes]:
    """What later turns of a conversation, or the same question again, begin with: the adapter,
    all up to the first user message, images by their digest."""
    adapter = body.get("adapter") or body.get("lora")
    if isinstance(adapter, str):
        yield b"a" + adapter.encode(errors="replace")
    instructions = body.get("instructions")
    if isinstance(instructions, str):
        yield b"s" + instructions[:LEADING_CHARS].encode(errors="replace")
    messages = body.get("messages", body.get("input"))
    if isinstance(messages, list):
        for message in messages:
            if not isinstance(message, dict):
                return
            yield b"m" + str(message.get("role")).encode(errors="replace")
            yield from _content(message.get("content"))
            if message.get("role") == "user":
                return
    for name in ("prompt", "input", "content", "query"):
        value = body.get(name)
        if isinstance(value, str):
            yield b"t" + value[:LEADING_CHARS].encode(errors="replace")
            return


def _content(content: Any) -> Iterator[bytes]:
    if isinstance(content, str):
        yield b"t" + content[:LEADING_CHARS].encode(errors="replace")
        return
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            text, url = part.get("text"), image_url(part)
            if isinstance(text, str):
                yield b"t" + text[:LEADING_CHARS].encode(errors="replace")
            if url:
                yield b"i" + hashlib.blake2b(url.encode(errors="replace")).digest()


def image_url(part: dict[str, Any]) -> str:
    """The address of an image part, "" for none."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def _images(messages: list[Any]) -> tuple[int, int]:
    """How many images the messages hold, and the bytes of their addresses."""
    urls = [
        url
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict) and (url := image_url(part))
    ]
    return len(urls), sum(map(len, urls))
