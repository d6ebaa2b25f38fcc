"""The top-level fields of a JSON body that routing needs, read without building the document.

msgspec decodes only the fields of a Struct and validates and skips the rest, about ten times as
fast as a parser that builds all values, and without memory for them.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from fleet_contract.errors import BadRequest
from fleet_web.request_body.json_body import (
    MAX_VALUES,
    Data,
    count_values,
    not_an_object,
    not_json,
    parse_json,
    top_level_names,
)

_MODEL = re.compile(rb'(?i)"model"')
_ESCAPED = re.compile(rb"\\u00[4-7][0-9a-fA-F]")
"""An escaped letter of ASCII, or `_`; encoders escape none."""
_IMAGE = re.compile(rb'"(?:image_url|image)"')
_SLICE_BYTES = 1024 * 1024
"""Searched in one call, which holds the interpreter lock."""
_LONGEST_MATCH = 16
"""Bytes by which slices overlap, so that a match across their border is found."""
SAFE_BRACKETS = 500
"""msgspec recurses for each level, and Python's default limit of recursion is 1,000."""
SMALL_BYTES = 64
"""A longer text is neither a number nor a boolean."""


class Fields(msgspec.Struct, gc=False):
    """Each field is the JSON text of its value."""

    model: Raw | UnsetType = UNSET
    stream: Raw | UnsetType = UNSET
    max_tokens: Raw | UnsetType = UNSET
    max_completion_tokens: Raw | UnsetType = UNSET
    max_output_tokens: Raw | UnsetType = UNSET
    n_predict: Raw | UnsetType = UNSET
    n: Raw | UnsetType = UNSET
    messages: Raw | UnsetType = UNSET
    system: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET
    prompt: Raw | UnsetType = UNSET
    content: Raw | UnsetType = UNSET
    query: Raw | UnsetType = UNSET
    instructions: Raw | UnsetType = UNSET
    adapter: Raw | UnsetType = UNSET
    lora: Raw | UnsetType = UNSET


_decoder = msgspec.json.Decoder(Fields)
_text = msgspec.json.Decoder(str)
_members = msgspec.json.Decoder(dict[str, Raw])


def read_fields(data: Data, escaped: bool | None = None) -> Fields:
    """The fields of a JSON object; `escaped` is the result of `has_escaped_letters`, if known.

    Raises BadRequest if `data` is not an object, exceeds the limits of `json_body`, or has another
    field whose name is `model` except for its case.
    """
    # Counted only where a limit may be exceeded: each value takes a byte, each level a bracket.
    # Servers check the nesting of bodies with fewer brackets.
    if len(data) > MAX_VALUES or data.count(b"[") + data.count(b"{") > SAFE_BRACKETS:
        count_values(data)
    try:
        fields = _decoder.decode(data)
    except msgspec.ValidationError:
        raise not_an_object() from None
    except msgspec.DecodeError as error:
        if len(data) <= MAX_VALUES:
            parse_json(data)  # raises with line and column
        raise not_json(data, error) from None
    expected = fields.model is not UNSET
    if escaped is None:
        escaped = has_escaped_letters(data)
    if escaped or _count(_MODEL, data, 2) != expected:
        _check_names(data)
    return fields


def has_escaped_letters(data: Data) -> bool:
    """Whether the name of a field may be written with escapes."""
    return bool(_count(_ESCAPED, data, 1))


def may_have_images(data: Data) -> bool:
    """Whether any part of a message may be an image, unless letters are escaped."""
    return bool(_count(_IMAGE, data, 1))


def _count(pattern: re.Pattern[bytes], data: Data, most: int) -> int:
    """The number of matches, at least `most` if there are more."""
    if len(data) <= _SLICE_BYTES:
        return len(pattern.findall(data))
    count = at = 0
    while at < len(data) and count < most:
        end = at + _SLICE_BYTES
        found = pattern.finditer(data, at, end + _LONGEST_MATCH)
        count += sum(match.start() < end for match in found)
        at = end
    return count


def model_of(fields: Fields) -> str | None:
    """The field `model`; None without it or if it is null. Raises BadRequest."""
    if fields.model is UNSET or bytes(memoryview(fields.model)[:4]) == b"null":
        return None
    try:
        model = _text.decode(fields.model)
    except (msgspec.DecodeError, UnicodeDecodeError):
        model = ""
    if not model:
        raise invalid_model()
    return model


def invalid_model() -> BadRequest:
    """The error for a `model` that is not a name."""
    return BadRequest(
        "Invalid value for 'model': a non-empty string is expected.",
        param="model",
        code="invalid_value",
    )


def second_model() -> BadRequest:
    """The error for a second field `model`."""
    return BadRequest("The field 'model' is given more than once.", param="model")


def misspelled_model(name: str) -> BadRequest:
    """The error for a field whose name is `model` except for its case."""
    return BadRequest(f"Unknown field {name!r}; its name is 'model'.", param=name)


def scalar(raw: Raw | UnsetType) -> Any:
    """The value of a number or boolean; None for anything else."""
    if raw is UNSET or len(memoryview(raw)) > SMALL_BYTES:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def with_model(data: Data, model: str) -> bytes:
    """The JSON object with `model` as its only field of that name; the texts of all other values
    stay as they are."""
    return msgspec.json.encode({**_members.decode(data), "model": model})


def _check_names(data: Data) -> None:
    twins = [name for name in top_level_names(data) if name.lower() == "model"]
    if len(twins) > 1:
        raise second_model()
    if twins and twins[0] != "model":
        raise misspelled_model(twins[0])
