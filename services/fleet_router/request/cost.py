"""The estimated cost of a request and a hash of its leading texts, for load balancing. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

PROMPT_BYTES = 2048
"""Bytes of a prompt per unit: prefill of about 500 tokens."""
NEW_TOKENS = 128
"""New tokens per unit: generating costs about ten times as much as prefill."""
DEFAULT_NEW_TOKENS = 256
IMAGE_COST = 2.0
AUDIO_BYTES = 512 * 1024
"""Bytes of a recording per unit: half a minute, compressed."""
MAX_UNITS = 1000.0
LEADING_CHARS = 1024
"""Characters of each leading text that are hashed."""


class RequestCost(NamedTuple):
    """`units` is 1 for a small request; `prefix` is the hash of the leading texts, b"" if there are
    none; `images` is the number of images in the messages, `prompt_bytes` the size of the JSON
    body without them."""

    streams: bool = False
    units: float = 1.0
    prefix: bytes = b""
    images: int = 0
    prompt_bytes: int = 0


def of_upload(length: int | None) -> RequestCost:
    """The cost of a form, by the size of its recording."""
    return RequestCost(units=min(MAX_UNITS, 1.0 + (length or 0) / AUDIO_BYTES))


def of_json(body: dict[str, Any], size: int, prefix: bool = True) -> RequestCost:
    """The cost of a JSON body of `size` bytes. Wrong types are ignored: the model server refuses
    them."""
    streams = body.get("stream") is True
    leading = _digest(body) if prefix else b""
    messages = body.get("messages")
    if not isinstance(messages, list):
        cost = 1.0 + size / PROMPT_BYTES
        if "prompt" in body or "max_output_tokens" in body:
            cost += _new_tokens(body) / NEW_TOKENS
        return RequestCost(streams, min(MAX_UNITS, cost), leading, 0, size)
    images, image_bytes = _images(messages)
    cost = 1.0 + (size - image_bytes) / PROMPT_BYTES
    cost += IMAGE_COST * images + _new_tokens(body) / NEW_TOKENS
    return RequestCost(streams, min(MAX_UNITS, cost), leading, images, size - image_bytes)


def _digest(body: dict[str, Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    found = False
    for text in _leading(body):
        found = True
        digest.update(text)
    return digest.digest() if found else b""


def _new_tokens(body: dict[str, Any]) -> int:
    for name in ("max_completion_tokens", "max_output_tokens", "max_tokens", "n_predict"):
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return min(value, 100_000)
    return DEFAULT_NEW_TOKENS


def _leading(body: dict[str, Any]) -> Iterator[bytes]:
    """What later turns of a conversation start with as well: the adapter and everything up to the
    first user message; images by their digest."""
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
    """The URL of an image part, "" if it has none."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def _images(messages: list[Any]) -> tuple[int, int]:
    """The number of images in the messages, and the size of their URLs."""
    urls = [
        url
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict) and (url := image_url(part))
    ]
    return len(urls), sum(map(len, urls))
