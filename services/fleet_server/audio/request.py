"""Parses and validates the form of a transcription or translation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeVar

from fleet_contract.api.languages import code_of, name_of
from fleet_contract.api.speech import FILE_FIELD, LISTS, SINGLE, Format, Granularity, field_name
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.protocols import SpeechModel
from fleet_server.unknown_fields import check_spelling

Task = Literal["transcribe", "translate"]
Member = TypeVar("Member", bound=StrEnum)

UNSUPPORTED = frozenset({
    "include", "chunking_strategy", "known_speaker_names", "known_speaker_references",
    "keywords", "languages", "hotwords",
})  # fmt: skip
"""OpenAI parameters that no Whisper engine supports; of `chunking_strategy`, `auto` is accepted."""
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A validated request. `language` is an ISO code; `model` None is the served model."""

    model: str | None
    task: Task
    language: str | None
    prompt: str | None
    temperature: float | None
    format: Format
    granularities: frozenset[Granularity]
    stream: bool
    ignored: int
    """Number of unknown fields."""


def parse(fields: Iterable[tuple[str, str]], task: Task) -> SpeechRequest:
    """The request in the fields of a form. Raises BadRequest with `param`."""
    single: dict[str, str] = {}
    granularities: list[str] = []
    ignored = 0
    for spelled, value in fields:
        name = field_name(spelled)
        if name in SINGLE and name in single:
            raise BadRequest(f"{name!r} is given more than once.", param=name)
        if name == "model":
            single[name] = value
        elif not value and name in SINGLE | LISTS | UNSUPPORTED:  # an empty field is not given
            continue
        elif name in LISTS:
            granularities.append(value)
        elif name in SINGLE:
            single[name] = value
        elif name == "chunking_strategy" and value == "auto":
            continue
        elif name in UNSUPPORTED:
            raise UnsupportedParameter(
                f"{name!r} is not supported by this server's engines; a custom image with engine "
                f"'container' may support it.",
                param=name,
            )
        else:
            check_spelling(spelled, SINGLE | LISTS | UNSUPPORTED)
            ignored += 1
    asked_format = _one_of(Format, single.get("response_format", "json"), "response_format")
    wanted = frozenset(
        _one_of(Granularity, value, "timestamp_granularities") for value in granularities
    )
    if Granularity.WORD in wanted and asked_format is not Format.VERBOSE_JSON:
        raise BadRequest(
            "'timestamp_granularities' with 'word' needs 'response_format' verbose_json.",
            param="timestamp_granularities",
        )
    return SpeechRequest(
        model=single.get("model"),
        task=task,
        language=_language(single.get("language")),
        prompt=single.get("prompt"),
        temperature=_temperature(single.get("temperature")),
        format=asked_format,
        granularities=wanted or frozenset({Granularity.SEGMENT}),
        stream=_stream(single.get("stream"), task, asked_format),
        ignored=ignored,
    )


def without_recording(fields: Iterable[tuple[str, str]]) -> BadRequest:
    """The error of a form without a recording, which names the fields that may be meant as one."""
    known = SINGLE | LISTS | UNSUPPORTED
    others = [repr(name[:100]) for name, _ in fields if field_name(name) not in known][:3]
    hint = f" The form has {', '.join(others)} instead." if others else ""
    return BadRequest(
        f"Missing required parameter: {FILE_FIELD!r}, the recording.{hint}",
        param=FILE_FIELD,
        code="missing",
    )


def check_languages(parsed: SpeechRequest, model: SpeechModel, model_id: str) -> None:
    """Raises BadRequest if the model does not support the language or cannot translate."""
    if not model.multilingual:
        if parsed.task == "translate":
            raise BadRequest(
                f"{model_id} is an English-only checkpoint and cannot translate; use a "
                f"multilingual model.",
                param="model",
            )
        if parsed.language not in (None, "en"):
            raise BadRequest(
                f"{model_id} is an English-only checkpoint and does not support "
                f"{name_of(parsed.language or '').title()}; use a multilingual model.",
                param="language",
            )
    elif parsed.language is not None and parsed.language not in model.languages:
        raise BadRequest(
            f"{model_id} does not support {name_of(parsed.language).title()}.", param="language"
        )


def _one_of(kind: type[Member], value: str, param: str) -> Member:
    try:
        return kind(value)
    except ValueError:
        raise BadRequest(
            f"{param!r} must be one of {', '.join(kind)}; {value[:100]!r} is not.",
            param=param,
            code="invalid_value",
        ) from None


def _language(value: str | None) -> str | None:
    if value is None:
        return None
    code = code_of(value)
    if code is None:
        raise BadRequest(
            f"'language' must be an ISO-639-1 code such as 'en', or a name such as 'english'; "
            f"{value[:100]!r} is neither. Leave it out to have the language detected.",
            param="language",
            code="invalid_value",
        )
    return code


def _temperature(value: str | None) -> float | None:
    """None for 0: Whisper then raises the temperature itself while its result is doubtful."""
    if value is None:
        return None
    number = float(value) if len(value) < 40 and NUMBER.fullmatch(value) else -1.0
    if not 0 <= number <= 1:
        raise BadRequest(
            f"'temperature' must be a number from 0 to 1; {value[:100]!r} is not.",
            param="temperature",
            code="invalid_value",
        )
    return number or None


def _stream(value: str | None, task: Task, asked_format: Format) -> bool:
    if value is None or value.lower() == "false":
        return False
    if value.lower() != "true":
        raise BadRequest(
            f"'stream' must be true or false; {value[:100]!r} is neither.",
            param="stream",
            code="invalid_value",
        )
    if task == "translate":
        raise UnsupportedParameter("Translations are not streamed.", param="stream")
    if asked_format not in (Format.JSON, Format.TEXT):
        raise UnsupportedParameter(
            f"'stream' requires 'response_format' json or text, not {asked_format.value}.",
            param="stream",
        )
    return True
