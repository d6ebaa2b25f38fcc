"""The server-sent events of a streamed transcription, in OpenAI's format.

`transcript.text.delta` for each segment, then `transcript.text.done` with the whole text, which is
the concatenation of the deltas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fleet_contract.api.speech import TextDelta, TextDone, TextError
from fleet_contract.errors import FleetError
from fleet_server.audio.formats import usage
from fleet_server.protocols import Segment, Transcript


class TranscriptionEvents:
    """Renders the events of one transcription, in order."""

    def __init__(self) -> None:
        self._segments = 0
        self._held_back = ""
        self._begun = False

    def delta(self, segment: Segment) -> bytes:
        """The event of the next segment; trailing white space is held back for the next text."""
        self._segments += 1
        text = self._held_back + segment.text
        if not self._begun:
            text = text.lstrip()
        delta = text.rstrip()
        self._held_back = text[len(delta) :]
        if not delta:
            return b""
        self._begun = True
        event: TextDelta = {"type": "transcript.text.delta", "delta": delta}
        return _event(event)

    def done(self, transcript: Transcript) -> bytes:
        """The events of the segments not sent yet, and the last event."""
        rest = [self.delta(segment) for segment in transcript.segments[self._segments :]]
        end: TextDone = {
            "type": "transcript.text.done",
            "text": transcript.text,
            "usage": usage(transcript),
        }
        return b"".join(rest) + _event(end)


def failure(error: FleetError) -> bytes:
    """The last event of a stream that failed."""
    event: TextError = {"type": "error", "error": error.body()["error"]}
    return _event(event)


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
