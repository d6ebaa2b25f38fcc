"""Fields of a form become a request, or a refusal that names the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_server.audio.request import (
    Format,
    Granularity,
    Task,
    check_languages,
    parse,
    without_recording,
)

Fields = dict[str, str]


def parsed(task: Task = "transcribe", **fields: str) -> Any:
    return parse([("model", "m"), *fields.items()], task)


def test_a_model_is_enough() -> None:
    asked = parsed()
    assert (asked.model, asked.task, asked.format) == ("m", "transcribe", Format.JSON)
    assert (asked.language, asked.prompt, asked.temperature) == (None, None, None)
    assert asked.granularities == {Granularity.SEGMENT}
    assert (asked.stream, asked.ignored) == (False, 0)


@pytest.mark.parametrize(
    ("given", "code"),
    [("en", "en"), ("DE", "de"), ("german", "de"), ("German", "de"), (" french ", "fr"),
     ("yue", "yue"), ("Cantonese", "yue"), ("flemish", "nl"), ("haitian creole", "ht")],
)  # fmt: skip
def test_languages_by_code_or_name(given: str, code: str) -> None:
    assert parsed(language=given).language == code


@pytest.mark.parametrize(
    ("given", "number"), [("0", None), ("0.0", None), ("0.5", 0.5), ("1", 1.0), (".25", 0.25)]
)
def test_temperature_zero_enables_fallback(given: str, number: float | None) -> None:
    assert parsed(temperature=given).temperature == number


@pytest.mark.parametrize("name", ["timestamp_granularities", "timestamp_granularities[]"])
def test_granularities_in_both_spellings(name: str) -> None:
    fields = [("model", "m"), ("response_format", "verbose_json"), (name, "word"),
              (name, "segment")]  # fmt: skip
    assert parse(fields, "transcribe").granularities == {Granularity.WORD, Granularity.SEGMENT}
    only = parse(fields[:3], "transcribe")
    assert only.granularities == {Granularity.WORD}


def test_unknown_fields_are_counted() -> None:
    fields = [("model", "m"), ("colour", "red"), ("colour", "blue"), ("x[]", "1")]
    assert parse(fields, "transcribe").ignored == 3


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "klingon"}, "language"),
        ({"language": "en-US"}, "language"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": "-0.1"}, "temperature"),
        ({"temperature": "1.1"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "inf"}, "temperature"),
        ({"temperature": "1e1"}, "temperature"),
        ({"temperature": "1e999"}, "temperature"),
        ({"temperature": "true"}, "temperature"),
        ({"temperature": "0" * 5000}, "temperature"),
        ({"temperature": "٠.٥"}, "temperature"),
        ({"response_format": "yaml"}, "response_format"),
        ({"response_format": "JSON"}, "response_format"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"timestamp_granularities[]": "letter"}, "timestamp_granularities"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"timestamp_granularities": "word", "response_format": "srt"}, "timestamp_granularities"),
        ({"stream": "yes"}, "stream"),
        ({"stream": "1"}, "stream"),
        ({"stream": "true", "response_format": "srt"}, "stream"),
        ({"stream": "true", "response_format": "verbose_json"}, "stream"),
        ({"include[]": "logprobs"}, "include"),
        ({"chunking_strategy": '{"type": "server_vad"}'}, "chunking_strategy"),
        ({"known_speaker_names[]": "Anna"}, "known_speaker_names"),
    ],
)
def test_refusals_name_the_field(fields: Fields, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parsed(**fields)
    assert caught.value.param == param
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("fields", [[], [("colour", "m")]])
def test_a_model_may_be_left_out(fields: list[tuple[str, str]]) -> None:
    assert parse(fields, "transcribe").model is None


def test_numbers_may_be_in_scientific_notation() -> None:
    assert parsed(temperature="1e-1").temperature == 0.1


@pytest.mark.parametrize("name", ["model", "language", "temperature", "stream"])
def test_a_duplicate_field_is_refused(name: str) -> None:
    fields = [("model", "m"), ("language", "en"), ("temperature", "0"), ("stream", "true")]
    with pytest.raises(BadRequest, match="more than once") as caught:
        parse([*fields, (name, "en")], "transcribe")
    assert caught.value.param == name


def test_streams() -> None:
    assert parsed(stream="true").stream
    assert parsed(stream="True", response_format="text").stream
    assert not parsed(stream="false", response_format="srt").stream
    assert not parsed("translate", stream="false").stream
    with pytest.raises(UnsupportedParameter) as caught:
        parsed("translate", stream="true")
    assert caught.value.param == "stream"


def test_automatic_chunking_is_accepted() -> None:
    assert parsed(chunking_strategy="auto").ignored == 0


def test_an_english_only_checkpoint_refuses_other_languages(
    counting_model: Callable[..., Any],
) -> None:
    english = counting_model(("en",))
    check_languages(parsed(), english, "tiny.en")
    check_languages(parsed(language="English"), english, "tiny.en")
    with pytest.raises(BadRequest, match=r"English-only.*German") as caught:
        check_languages(parsed(language="de"), english, "tiny.en")
    assert caught.value.param == "language"
    with pytest.raises(BadRequest, match=r"English-only.*translate"):
        check_languages(parsed("translate"), english, "tiny.en")


def test_an_unsupported_language_is_refused(counting_model: Callable[..., Any]) -> None:
    with pytest.raises(BadRequest, match="Cantonese") as caught:
        check_languages(parsed(language="yue"), counting_model(), "base")
    assert caught.value.param == "language"
    check_languages(parsed("translate", language="de"), counting_model(), "base")


EMPTY = [
    (name, "")
    for name in ("language", "temperature", "response_format", "stream", "prompt", "include[]",
                 "timestamp_granularities[]", "chunking_strategy", "known_speaker_names[]")
]  # fmt: skip


@pytest.mark.parametrize("field", EMPTY, ids=lambda field: field[0])
def test_an_empty_field_counts_as_absent(field: tuple[str, str]) -> None:
    assert parse([("model", "m"), field], "transcribe") == parse([("model", "m")], "transcribe")


@pytest.mark.parametrize(
    "name",
    ["timestamp_granularities", "timestamp_granularities[]", "timestamp_granularities[0]",
     "timestamp_granularities[17]"],
)  # fmt: skip
def test_every_spelling_of_a_list_is_read(name: str) -> None:
    fields = [("response_format[]", "verbose_json"), (name, "word")]
    assert parse(fields, "transcribe").granularities == {Granularity.WORD}
    both = [*fields, (name.replace("17", "18"), "segment")]
    assert parse(both, "transcribe").granularities == {Granularity.WORD, Granularity.SEGMENT}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("timestampGranularities[]", "timestamp_granularities"),
     ("timestamp_granularities[word]", "timestamp_granularities"),
     ("timestamp_granularities[][]", "timestamp_granularities"),
     ("timestamp_granularities.0", "timestamp_granularities"),
     ("timestamp-granularities", "timestamp_granularities"),
     ("Language", "language"), ("responseFormat", "response_format"), (" model", "model"),
     ("chunkingStrategy", "chunking_strategy")],
)  # fmt: skip
def test_other_spellings_are_refused(name: str, meant: str) -> None:
    with pytest.raises(UnsupportedParameter, match=f"use '{meant}'") as caught:
        parse([(name, "word")], "transcribe")
    assert caught.value.param == name


def test_brackets_do_not_hide_a_duplicate() -> None:
    with pytest.raises(BadRequest, match="'model' is given more than once"):
        parse([("model", "m"), ("model[]", "other")], "transcribe")


def test_a_missing_recording_is_searched_in_other_fields() -> None:
    error = without_recording(
        [("model", "m"), ("audio", "abc"), ("timestamp_granularities[0]", "")]
    )
    assert "'file'" in error.message
    assert "The form has 'audio' instead." in error.message
    assert "instead" not in without_recording([("model", "m")]).message
