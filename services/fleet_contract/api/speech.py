"""POST /v1/audio/transcriptions and /v1/audio/translations.

Source: platform.openai.com/docs/api-reference/audio.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from fleet_contract.api.base import Error
from fleet_contract.api.languages import KNOWN

FILE_FIELD = "file"


class Format(StrEnum):
    """Formats of the response."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VERBOSE_JSON = "verbose_json"
    VTT = "vtt"


class Granularity(StrEnum):
    """What verbose_json has timestamps for."""

    SEGMENT = "segment"
    WORD = "word"


MEDIA_TYPES: dict[Format, str] = {
    Format.JSON: "application/json",
    Format.VERBOSE_JSON: "application/json",
    Format.TEXT: "text/plain; charset=utf-8",
    Format.SRT: "text/plain; charset=utf-8",
    Format.VTT: "text/vtt; charset=utf-8",
}

BINARY: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}


class SpeechForm(BaseModel):
    """The fields of the form. For documentation: values arrive as text and are parsed elsewhere."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Annotated[bytes, Field(json_schema_extra=BINARY)]
    """The recording: wav, mp3, m4a, ogg, flac, webm and others."""
    model: str = Field(default="", min_length=1)
    """Id or alias. Optional if only one model serves speech."""
    language: str = Field(default="", json_schema_extra={"enum": [*KNOWN]})
    """ISO 639-1 code or English name of the spoken language; detected by default."""
    prompt: str = ""
    """Text that precedes the recording."""
    temperature: float = Field(default=0, ge=0, le=1)
    """0 decodes greedily and raises the temperature where the model is uncertain."""
    response_format: Format = Format.JSON
    timestamp_granularities: list[Granularity] = Field(
        default=[], alias="timestamp_granularities[]"
    )
    """`word` requires verbose_json."""
    stream: bool = False
    """Whether a transcription is streamed as server-sent events; json and text only."""


SINGLE = frozenset(SpeechForm.model_fields) - {FILE_FIELD, "timestamp_granularities"}
"""Fields that may occur at most once."""
LISTS = frozenset({"timestamp_granularities"})
"""Fields that may occur several times."""
_BRACKETS = re.compile(r"\[[0-9]{0,4}\]")


def field_name(spelled: str) -> str:
    """The name of a form field without the brackets that many clients append to those of lists:
    `name[]` and `name[0]` become `name`."""
    found = _BRACKETS.search(spelled)
    return spelled[: found.start()] if found and found.end() == len(spelled) else spelled


class AudioUsage(TypedDict):
    """Seconds of the recording, rounded up."""

    type: Literal["duration"]
    seconds: int


class Transcription(TypedDict):
    """The response in format json."""

    text: str
    usage: AudioUsage


class TranscriptSegment(TypedDict):
    """A segment of speech; times in seconds."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class TranscriptWord(TypedDict):
    """A word; times in seconds."""

    word: str
    start: float
    end: float


class Times(TypedDict):
    """The requested timestamps."""

    segments: NotRequired[list[TranscriptSegment]]
    words: NotRequired[list[TranscriptWord]]


class VerboseTranscription(Times):
    """The response in format verbose_json, with segments or words as requested."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    usage: AudioUsage


class TextDelta(TypedDict):
    """The text of the next segment."""

    type: Literal["transcript.text.delta"]
    delta: str


class TextError(TypedDict):
    """An error in the middle of a stream; the last event."""

    type: Literal["error"]
    error: Error


class TextDone(TypedDict):
    """The end of the stream, with the whole text."""

    type: Literal["transcript.text.done"]
    text: str
    usage: AudioUsage
