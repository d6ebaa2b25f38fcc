"""Extracts the usage of a request from the end or the head of its response. Pure.

OpenAI's responses have a `usage` object: the last member of a JSON body, in a stream the last
event. Where OpenAI's format has none, this project's servers add it if the request has the header
`x-modelfleet-usage`: as a header of the response, or as a comment at the end of a stream.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

TAIL_BYTES = 4096
_WORD = b"usage"
_BEFORE = (b'"', b"\n: ")
"""Before a member of an object, or at the start of a comment."""
_OBJECT = re.compile(rb'"?\s*:?\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')


class RequestUsage(NamedTuple):
    """Counts of one request; 0 where unknown."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    audio_seconds: float = 0.0


NO_USAGE = RequestUsage()


class Tail:
    """The last bytes of a response."""

    def __init__(self) -> None:
        self._bytes = b""

    def add(self, chunk: bytes) -> None:
        """The next chunk of the body."""
        kept = self._bytes + chunk if len(chunk) < TAIL_BYTES else chunk
        # Cut only at twice the size: not a copy for each chunk of a stream.
        self._bytes = kept[-TAIL_BYTES:] if len(kept) > 2 * TAIL_BYTES else kept

    @property
    def end(self) -> bytes:
        """The last two bytes."""
        return self._bytes[-2:]

    def usage(self) -> RequestUsage:
        """The last `usage` in it."""
        data = b"\n" + self._bytes[-TAIL_BYTES:]
        at = data.rfind(_WORD)
        while at >= 0:
            if data.endswith(_BEFORE, 0, at) and (found := _OBJECT.match(data, at + len(_WORD))):
                usage = parse_usage(found[1])
                if usage is not NO_USAGE:
                    return usage
            at = data.rfind(_WORD, 0, at)
        return NO_USAGE


def parse_usage(raw: bytes) -> RequestUsage:
    """A usage object in OpenAI's shapes (chat and embeddings, responses, transcriptions), or in
    Anthropic's."""
    try:
        counts = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return NO_USAGE
    if not isinstance(counts, dict):
        return NO_USAGE
    # Chat and Responses name the same counts differently.
    details = counts.get("prompt_tokens_details") or counts.get("input_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    # Anthropic's `input_tokens` are those that were neither read from its cache nor written to it.
    read = _count(counts.get("cache_read_input_tokens"))
    apart = read + _count(counts.get("cache_creation_input_tokens"))
    usage = RequestUsage(
        _count(counts.get("prompt_tokens", counts.get("input_tokens"))) + apart,
        cached + read,
        _count(counts.get("completion_tokens", counts.get("output_tokens"))),
        float(_count(counts.get("seconds"))),
    )
    return usage if any(usage) else NO_USAGE


def _count(value: Any) -> int:
    valid = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return int(min(value, 10**9)) if valid else 0
