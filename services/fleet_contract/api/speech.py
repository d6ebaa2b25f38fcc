"""POST /v1/audio/transcriptions and /v1/audio/translations; fleet_server.audio reads and answers.

Source: platform.openai.com/docs/api-reference/audio.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from fleet_contract.api.base import Error
from fleet_contract.api.languages import KNOWN

FILE_FIELD = "file"


class Format(StrEnum):
    """Shapes of the answer."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VERBOSE_JSON = "verbose_json"
    VTT = "vtt"


class Granularity(StrEnum):
    """What verbose_json gives times for."""

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
    """The fields of the form. Their names are what fleet_server.audio.request reads; it reads the
    values from text, so this model describes and does not validate."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Annotated[bytes, Field(json_schema_extra=BINARY)]
    """The recording: wav, mp3, m4a, ogg, flac, webm and others."""
    model: str = Field(default="", min_length=1)
    """Id or alias. May be left out where one model only does speech."""
    language: str = Field(default="", json_schema_extra={"enum": [*KNOWN]})
    """ISO 639-1 code or English name of what is spoken; detected when left out."""
    prompt: str = ""
    """Text that the recording continues."""
    temperature: float = Field(default=0, ge=0, le=1)
    """0 raises it as long as the model is in doubt."""
    response_format: Format = Format.JSON
    timestamp_granularities: list[Granularity] = Field(
        default=[], alias="timestamp_granularities[]"
    )
    """`word` needs verbose_json."""
    stream: bool = False
    """Whether a transcription comes as server-sent events; with json and text."""


SINGLE = frozenset(SpeechForm.model_fields) - {FILE_FIELD, "timestamp_granularities"}
"""Fields that come once at most."""
LISTS = frozenset({"timestamp_granularities"})
"""Fields that may come several times, spelt with `[]` or without."""


class AudioUsage(TypedDict):
    """Whole seconds of the recording, rounded up."""

    type: Literal["duration"]
    seconds: int


class Transcription(TypedDict):
    """The answer of format json."""

    text: str
    usage: AudioUsage


class TranscriptSegment(TypedDict):
    """A stretch of speech; times are seconds."""

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
    """A word; times are seconds."""

    word: str
    start: float
    end: float


class Times(TypedDict):
    """What times were asked for."""

    segments: NotRequired[list[TranscriptSegment]]
    words: NotRequired[list[TranscriptWord]]


class VerboseTranscription(Times):
    """The answer of format verbose_json, with segments or words as asked for."""

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
    """Why a stream fails half-way; nothing follows."""

    type: Literal["error"]
    error: Error


class TextDone(TypedDict):
    """The end, with the whole text."""

    type: Literal["transcript.text.done"]
    text: str
    usage: AudioUsage
