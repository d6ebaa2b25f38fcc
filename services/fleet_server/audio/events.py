"""The server-sent events of a streamed transcription, in OpenAI's shape.

`transcript.text.delta` for each segment as it becomes certain, then `transcript.text.done` with
the whole text; the deltas joined are that text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fleet_contract.api.speech import TextDelta, TextDone, TextError
from fleet_contract.errors import FleetError
from fleet_server.audio.formats import usage
from fleet_server.protocols import Segment, Transcript


class Events:
    """Writes the events of one answer, in order."""

    def __init__(self) -> None:
        self._segments = 0
        self._held_back = ""
        self._begun = False

    def delta(self, segment: Segment) -> bytes:
        """The text of the next segment; white space waits for the text after it."""
        self._segments += 1
        text = self._held_back + segment.text
        if not self._begun:
            text = text.lstrip()
        said = text.rstrip()
        self._held_back = text[len(said) :]
        if not said:
            return b""
        self._begun = True
        event: TextDelta = {"type": "transcript.text.delta", "delta": said}
        return _event(event)

    def done(self, transcript: Transcript) -> bytes:
        """The segments no delta has said yet, and the end."""
        rest = [self.delta(segment) for segment in transcript.segments[self._segments :]]
        end: TextDone = {
            "type": "transcript.text.done",
            "text": transcript.text,
            "usage": usage(transcript),
        }
        return b"".join(rest) + _event(end)


def failure(error: FleetError) -> bytes:
    """The event that ends a stream which failed half-way."""
    event: TextError = {"type": "error", "error": error.body()["error"]}
    return _event(event)


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
