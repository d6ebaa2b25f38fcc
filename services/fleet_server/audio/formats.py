"""Renders a transcript in the five formats of OpenAI's audio routes.

SubRip has no standard; WebVTT is W3C's (www.w3.org/TR/webvtt1). Both separate cues by empty lines
and recognise a cue by its arrow, so a text may contain neither.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator

import orjson

from fleet_contract.api.languages import name_of
from fleet_contract.api.speech import (
    AudioUsage,
    Format,
    Granularity,
    Times,
    Transcription,
    TranscriptSegment,
    VerboseTranscription,
)
from fleet_server.audio.request import SpeechRequest
from fleet_server.protocols import Segment, Transcript


def write(transcript: Transcript, parsed: SpeechRequest) -> bytes:
    """The body of the response."""
    return _WRITERS[parsed.format](transcript, parsed)


def usage(transcript: Transcript) -> AudioUsage:
    """OpenAI's usage of models billed by duration: whole seconds, rounded up."""
    return {"type": "duration", "seconds": math.ceil(transcript.duration)}


def usage_header(transcript: Transcript) -> str:
    """The usage as a header for the router, for formats without a usage."""
    return orjson.dumps(usage(transcript)).decode()


def _json(transcript: Transcript, parsed: SpeechRequest) -> bytes:
    body: Transcription = {"text": transcript.text, "usage": usage(transcript)}
    return orjson.dumps(body)


def _text(transcript: Transcript, parsed: SpeechRequest) -> bytes:
    return f"{transcript.text}\n".encode()


def _verbose_json(transcript: Transcript, parsed: SpeechRequest) -> bytes:
    # The text of a translation is English, whatever the language of the recording.
    language = "en" if parsed.task == "translate" else transcript.language
    times: Times = {}
    if Granularity.SEGMENT in parsed.granularities:
        times["segments"] = [
            _segment(number, segment) for number, segment in enumerate(transcript.segments)
        ]
    if Granularity.WORD in parsed.granularities:
        times["words"] = [
            {"word": word.word.strip(), "start": round(word.start, 2), "end": round(word.end, 2)}
            for segment in transcript.segments
            for word in segment.words
        ]
    body: VerboseTranscription = {
        "task": parsed.task,
        "language": name_of(language),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
        **times,
        "usage": usage(transcript),
    }
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def _segment(number: int, segment: Segment) -> TranscriptSegment:
    return {
        "id": number,
        "seek": segment.seek,
        "start": round(segment.start, 2),
        "end": round(segment.end, 2),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _srt(transcript: Transcript, parsed: SpeechRequest) -> bytes:
    cues = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n\n"
        for number, (start, end, text) in enumerate(_cues(transcript), start=1)
    ]
    return "".join(cues).encode()


def _vtt(transcript: Transcript, parsed: SpeechRequest) -> bytes:
    cues = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(text, quote=False)}\n\n"
        for start, end, text in _cues(transcript)
    ]
    return ("WEBVTT\n\n" + "".join(cues)).encode()


def _cues(transcript: Transcript) -> Iterator[tuple[float, float, str]]:
    for segment in transcript.segments:
        text = " ".join(segment.text.split()).replace("-->", "->")
        if text:
            yield segment.start, max(segment.start, segment.end), text


def _clock(seconds: float, mark: str) -> str:
    """`HH:MM:SS,mmm`; hours may have more than two digits."""
    whole = max(0, round(seconds * 1000))
    minutes, milliseconds = divmod(whole, 60_000)
    return (
        f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}"
        f"{mark}{milliseconds % 1000:03d}"
    )


_WRITERS: dict[Format, Callable[[Transcript, SpeechRequest], bytes]] = {
    Format.JSON: _json,
    Format.TEXT: _text,
    Format.VERBOSE_JSON: _verbose_json,
    Format.SRT: _srt,
    Format.VTT: _vtt,
}
