"""The five formats, with texts and times that could break them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fleet_server.audio.formats import write
from fleet_server.audio.request import Format, parse
from fleet_server.protocols import Segment, Transcript, Word

TRANSCRIPT = Transcript(
    "de",
    7.301,
    (
        Segment(
            0.0, 2.5, " Guten Tag.", tokens=(50364, 9), temperature=0.2, avg_logprob=-0.25,
            compression_ratio=1.1, no_speech_prob=0.01,
            words=(Word(" Guten", 0.0, 0.52), Word(" Tag.", 0.52, 1.0)),
        ),
        Segment(3661.0, 3662.0456, " A & B <c> --> d\n\ne", seek=366_100),
    ),
)  # fmt: skip


def written(name: str, transcript: Transcript = TRANSCRIPT, **fields: str) -> str:
    asked = parse([("model", "m"), ("response_format", name), *fields.items()], "transcribe")
    return write(transcript, asked).decode()


def test_json_and_text() -> None:
    text = "Guten Tag. A & B <c> --> d\n\ne"
    assert json.loads(written("json")) == {
        "text": text,
        "usage": {"type": "duration", "seconds": 8},
    }
    assert written("text") == f"{text}\n"


def test_srt() -> None:
    assert written("srt") == (
        "1\n00:00:00,000 --> 00:00:02,500\nGuten Tag.\n\n"
        "2\n01:01:01,000 --> 01:01:02,046\nA & B <c> -> d e\n\n"
    )


def test_vtt() -> None:
    assert written("vtt") == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:02.500\nGuten Tag.\n\n"
        "01:01:01.000 --> 01:01:02.046\nA &amp; B &lt;c&gt; -&gt; d e\n\n"
    )


def test_verbose_json() -> None:
    answer: dict[str, Any] = json.loads(written("verbose_json"))
    assert list(answer) == ["task", "language", "duration", "text", "segments", "usage"]
    assert (answer["task"], answer["language"]) == ("transcribe", "german")
    assert answer["duration"] == 7.301
    assert answer["segments"][0] == {
        "id": 0, "seek": 0, "start": 0.0, "end": 2.5, "text": " Guten Tag.", "tokens": [50364, 9],
        "temperature": 0.2, "avg_logprob": -0.25, "compression_ratio": 1.1, "no_speech_prob": 0.01,
    }  # fmt: skip
    assert answer["segments"][1]["id"] == 1
    assert answer["usage"] == {"type": "duration", "seconds": 8}


def test_words_and_segments_are_returned_when_requested() -> None:
    fields = [("model", "m"), ("response_format", "verbose_json")]
    word = ("timestamp_granularities[]", "word")
    only = json.loads(write(TRANSCRIPT, parse([*fields, word], "transcribe")))
    assert "segments" not in only
    assert only["words"] == [
        {"word": "Guten", "start": 0.0, "end": 0.52},
        {"word": "Tag.", "start": 0.52, "end": 1.0},
    ]
    both = parse([*fields, word, ("timestamp_granularities[]", "segment")], "transcribe")
    assert {"segments", "words"} <= json.loads(write(TRANSCRIPT, both)).keys()


def test_a_translation_is_english() -> None:
    asked = parse([("model", "m"), ("response_format", "verbose_json")], "translate")
    answer = json.loads(write(TRANSCRIPT, asked))
    assert (answer["task"], answer["language"]) == ("translate", "english")


def test_numbers_of_numpy_are_written() -> None:
    segment = replace(TRANSCRIPT.segments[0], start=np.float64(0.25), avg_logprob=np.float32(-0.5))
    answer = json.loads(written("verbose_json", replace(TRANSCRIPT, segments=(segment,))))
    assert answer["segments"][0]["avg_logprob"] == -0.5


@pytest.mark.parametrize(
    ("name", "empty"), [("text", "\n"), ("srt", ""), ("vtt", "WEBVTT\n\n")]
)  # fmt: skip
def test_silence(name: str, empty: str) -> None:
    silence = Transcript("en", 0.4)
    assert written(name, silence) == empty
    assert json.loads(written("json", silence))["usage"]["seconds"] == 1
    assert json.loads(written("verbose_json", silence))["segments"] == []


def test_rounding_carries_into_the_next_second_and_hours_may_grow() -> None:
    odd = Transcript("en", 1, (Segment(59.9996, 360_000.5, "x"), Segment(5, 4, "y")))
    assert written("srt", odd) == (
        "1\n00:01:00,000 --> 100:00:00,500\nx\n\n2\n00:00:05,000 --> 00:00:05,000\ny\n\n"
    )


@pytest.mark.parametrize("name", list(Format))
def test_an_empty_segment_has_no_cue(name: Format) -> None:
    text = written(name.value, Transcript("en", 1, (Segment(0, 1, "  \n "),)))
    assert "-->" not in text
