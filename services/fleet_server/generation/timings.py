"""How long the parts of a request took."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_contract.api.generation import TimingValues
from fleet_contract.names import HEADER_DECODE_MS, HEADER_FIRST_TOKEN_MS, HEADER_PROMPT_MS


@dataclass(frozen=True, slots=True)
class Timings:
    """In milliseconds: the wait for a slot; `prompt`, from the start of the generation to its first
    token; `first_token`, from the arrival of the request to that token; `decode`, from there to the
    last token. Without a token the last three are None."""

    queue: float
    prompt: float | None = None
    first_token: float | None = None
    decode: float | None = None

    @classmethod
    def of(
        cls, queue_ms: float, admitted: float, submitted: float, first: float | None, last: float
    ) -> Timings:
        """Times of a request from the clock's seconds at its events."""
        if first is None:
            return cls(queue_ms)
        return cls(
            queue=queue_ms,
            prompt=(first - submitted) * 1000,
            first_token=queue_ms + (first - admitted) * 1000,
            decode=max(0.0, last - first) * 1000,
        )

    def body(self) -> TimingValues:
        """The object in the last chunk of a stream."""
        return {
            "queue_ms": round(self.queue, 1),
            "prompt_ms": _rounded(self.prompt),
            "first_token_ms": _rounded(self.first_token),
            "decode_ms": _rounded(self.decode),
        }

    def headers(self) -> dict[str, str]:
        """The headers of a whole response besides that of the queue."""
        values = {
            HEADER_PROMPT_MS: self.prompt,
            HEADER_FIRST_TOKEN_MS: self.first_token,
            HEADER_DECODE_MS: self.decode,
        }
        return {name: f"{value:.1f}" for name, value in values.items() if value is not None}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
