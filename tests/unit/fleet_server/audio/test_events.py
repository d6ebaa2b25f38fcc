"""The events of a streamed transcription."""

from __future__ import annotations

import json
from typing import Any

from fleet_contract.errors import Timeout
from fleet_server.audio.events import TranscriptionEvents, failure
from fleet_server.protocols import Segment, Transcript


def data(raw: bytes) -> list[dict[str, Any]]:
    pieces = raw.decode().split("\n\n")
    assert pieces.pop() == ""
    return [json.loads(piece.removeprefix("data: ")) for piece in pieces]


def transcript(*texts: str) -> Transcript:
    return Transcript("en", 3.2, [Segment(i, i + 1, text) for i, text in enumerate(texts)])


def text_of(raw: bytes) -> str:
    return "".join(event.get("delta", "") for event in data(raw))


def test_deltas_joined_are_the_text_of_the_end() -> None:
    for texts in ([" One", " two. ", "  ", " three\n"], [], ["  "], ["x"]):
        for count in range(len(texts) + 1):
            whole, events = transcript(*texts), TranscriptionEvents()
            raw = b"".join(events.delta(segment) for segment in whole.segments[:count])
            raw += events.done(whole)
            assert text_of(raw) == whole.text
            end = data(raw)[-1]
            assert end["type"] == "transcript.text.done"
            assert end["text"] == whole.text
            assert end["usage"] == {"type": "duration", "seconds": 4}


def test_each_segment_is_a_delta() -> None:
    events, whole = TranscriptionEvents(), transcript(" One", " two")
    assert data(events.delta(whole.segments[0])) == [
        {"type": "transcript.text.delta", "delta": "One"}
    ]
    assert text_of(events.delta(whole.segments[1])) == " two"


def test_a_failure_during_the_stream() -> None:
    (event,) = data(failure(Timeout("too slow")))
    assert event["type"] == "error"
    assert event["error"]["code"] == "timeout"
