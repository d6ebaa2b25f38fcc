"""Word timestamps from the decoder's cross-attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from fleet_server.engines.ctranslate2.windows import AudioWindow
from fleet_server.protocols import Segment, Word

OPENING = "\"'“¿([{-"
CLOSING = "\"'.。,，!！?？:：”)]}、"
"""Punctuation attached to the word after it and before it, as in OpenAI's Whisper."""

Alignable = tuple[Sequence[Segment], AudioWindow]


class _Aligned:
    """The part of WhisperModel that `add_word_timestamps` uses, with a precomputed alignment."""

    def __init__(self, model: WhisperModel, alignment: list[dict[str, Any]]) -> None:
        self.frames_per_second = model.frames_per_second
        self._alignment = alignment

    def find_alignment(self, *_: Any) -> list[list[dict[str, Any]]]:
        return [self._alignment]


def align(
    model: WhisperModel, tokenizer: Tokenizer, encoded: Any, entries: Sequence[Alignable | None]
) -> list[Sequence[Segment]]:
    """The segments of each window of a pass with their words, aligned in one call.

    `encoded` has a row for each entry; an entry that is None has no segments.
    """
    tokens = [
        [] if entry is None else [token for segment in entry[0] for token in segment.tokens
                                  if token < tokenizer.eot]
        for entry in entries
    ]  # fmt: skip
    frames = [1 if entry is None else max(1, int(entry[1].seconds * 100)) for entry in entries]
    alignments = model.find_alignment(tokenizer, tokens, encoded, frames)
    return [
        () if entry is None else _with_words(_Aligned(model, alignment), tokenizer, entry[0])
        for entry, alignment in zip(entries, alignments, strict=True)
    ]


def _with_words(
    aligned: _Aligned, tokenizer: Tokenizer, segments: Sequence[Segment]
) -> list[Segment]:
    drafts: list[dict[str, Any]] = [
        {
            "seek": segment.seek, "start": segment.start, "end": segment.end,
            "tokens": list(segment.tokens), "words": [],
        }
        for segment in segments
    ]  # fmt: skip
    # One window at a time, so that its words do not depend on the others of its pass.
    WhisperModel.add_word_timestamps(
        aligned, [drafts], tokenizer, None, 0, OPENING, CLOSING,
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
