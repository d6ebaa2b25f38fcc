"""What an answer used, read from its end or its head as it passes. Pure; `relay` feeds it.

OpenAI's answers carry a `usage` object: the last member of a JSON body, in a stream the last event.
Our servers say it besides where OpenAI's shape has no place for it, when the router asks with
`x-modelfleet-usage`: in a header of the answer, or in a comment at the end of a stream.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

TAIL_BYTES = 4096
_WORD = b"usage"
_BEFORE = (b'"', b"\n: ")
"""As a member of an object, or at the beginning of a comment."""
_OBJECT = re.compile(rb'"?\s*:?\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')


class Usage(NamedTuple):
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
        at = data.rfind(_WORD)
        while at >= 0:
            if data.endswith(_BEFORE, 0, at) and (found := _OBJECT.match(data, at + len(_WORD))):
                usage = read(found[1])
                if usage is not NOTHING:
                    return usage
            at = data.rfind(_WORD, 0, at)
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
        _count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        _count(said.get("completion_tokens", said.get("output_tokens"))),
        float(_count(said.get("seconds"))),
    )
    return usage if any(usage) else NOTHING


def _count(value: Any) -> int:
    known = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return int(min(value, 10**9)) if known else 0
