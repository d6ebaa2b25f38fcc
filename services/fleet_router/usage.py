"""What an answer used, read from its end or its head as it passes. Pure; `relay` feeds it.

OpenAI's answers carry a `usage` object: the last member of a JSON body, in a stream the last event.
Our servers say it besides where OpenAI's shape has no place for it, when the router asks with
`x-modelfleet-usage`: in a header of the answer, or in a comment at the end of a stream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

TAIL_BYTES = 4096
_NAMED = (b'"usage"', b"\n: usage")
_OBJECT = re.compile(rb"\s*:?\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})")


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts of one request; 0 where nothing was said."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    audio_seconds: float = 0.0


NOTHING = Usage()


class Tail:
    """The last bytes of an answer."""

    def __init__(self) -> None:
        self._bytes = b""

    def add(self, piece: bytes) -> None:
        """The next piece of the answer."""
        kept = self._bytes + piece if len(piece) < TAIL_BYTES else piece
        self._bytes = kept[-TAIL_BYTES:] if len(kept) > 2 * TAIL_BYTES else kept

    @property
    def end(self) -> bytes:
        """Its last two bytes."""
        return self._bytes[-2:]

    def usage(self) -> Usage:
        """What the last `usage` in it says."""
        data = b"\n" + self._bytes[-TAIL_BYTES:]
        until = len(data)
        while (at := max(data.rfind(name, 0, until) for name in _NAMED)) >= 0:
            name = next(name for name in _NAMED if data.startswith(name, at))
            found = _OBJECT.match(data, at + len(name))
            usage = read(found[1]) if found is not None else NOTHING
            if usage is not NOTHING:
                return usage
            until = at
        return NOTHING


def read(raw: bytes) -> Usage:
    """A usage object in OpenAI's shapes: chat and embeddings, responses, transcriptions."""
    try:
        said = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return NOTHING
    if not isinstance(said, dict):
        return NOTHING
    details = said.get("prompt_tokens_details") or said.get("input_tokens_details")
    usage = Usage(
        _count(said.get("prompt_tokens", said.get("input_tokens"))),
        _count(details.get("cached_tokens") if isinstance(details, dict) else 0),
        _count(said.get("completion_tokens", said.get("output_tokens"))),
        float(_count(said.get("seconds"))),
    )
    return NOTHING if usage == NOTHING else usage


def _count(value: Any) -> int:
    known = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return int(min(value, 10**9)) if known else 0
