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


Heard = tuple[Sequence[Segment], Window]


class _Aligned:
    """Stands in for a WhisperModel whose alignment of one window is known already."""

    def __init__(self, model: WhisperModel, alignment: list[dict[str, Any]]) -> None:
        self.frames_per_second = model.frames_per_second
        self._alignment = alignment

    def find_alignment(self, *_: Any) -> list[list[dict[str, Any]]]:
        return [self._alignment]


def align(
    model: WhisperModel, tokenizer: Tokenizer, encoded: Any, heard: Sequence[Heard | None]
) -> list[Sequence[Segment]]:
    """The segments of each window of a pass with their words, aligned together.

    `encoded` has a row for each entry of `heard`; an entry that is None gives no segments.
    """
    tokens = [
        [] if entry is None else [token for segment in entry[0] for token in segment.tokens
                                  if token < tokenizer.eot]
        for entry in heard
    ]  # fmt: skip
    frames = [1 if entry is None else max(1, int(entry[1].seconds * 100)) for entry in heard]
    alignments = model.find_alignment(tokenizer, tokens, encoded, frames)
    return [
        () if entry is None else _with_words(_Aligned(model, alignment), tokenizer, entry[0])
        for entry, alignment in zip(heard, alignments, strict=True)
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
    # A window's words depend on no other window, so that they are the same in every pass.
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
