"""When each word of a window was said, from the decoder's cross-attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from fleet_server.engines.ctranslate2.windows import Window
from fleet_server.protocols import Segment, Word

OPENING = "\"'“¿([{-"
CLOSING = "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the word after and before it, as in OpenAI's Whisper."""


def align(
    model: WhisperModel,
    tokenizer: Tokenizer,
    encoded: Any,
    segments: Sequence[Segment],
    window: Window,
) -> list[Segment]:
    """The segments of one window with their words; `encoded` is that window alone."""
    drafts: list[dict[str, Any]] = [
        {
            "seek": segment.seek, "start": segment.start, "end": segment.end,
            "tokens": list(segment.tokens), "words": [],
        }
        for segment in segments
    ]  # fmt: skip
    model.add_word_timestamps(
        [drafts], tokenizer, encoded, max(1, int(window.seconds * 100)), OPENING, CLOSING,
        last_speech_timestamp=segments[0].seek / 100,
    )  # fmt: skip
    return [
        replace(
            segment,
            start=float(draft["start"]),
            end=float(draft["end"]),
            words=tuple(
                Word(word["word"], float(word["start"]), float(word["end"]))
                for word in draft["words"]
            ),
        )
        for segment, draft in zip(segments, drafts, strict=True)
    ]
