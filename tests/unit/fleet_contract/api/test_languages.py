"""Codes and names of languages."""

from __future__ import annotations

from faster_whisper.tokenizer import _LANGUAGE_CODES

from fleet_contract.api.languages import NAMES, OTHER_NAMES, code_of, name_of


def test_every_language_of_whisper_has_a_name() -> None:
    assert set(NAMES) == set(_LANGUAGE_CODES)
    assert len(set(NAMES.values())) == len(NAMES)


def test_names_and_codes_are_converted_both_ways() -> None:
    for code, name in NAMES.items():
        assert code_of(name.upper()) == code_of(code) == code
        assert name_of(code) == name
    assert set(OTHER_NAMES.values()) <= set(NAMES)


def test_unknown_ones() -> None:
    assert code_of("klingon") is None
    assert code_of("") is None
    assert name_of("xx") == "xx"
