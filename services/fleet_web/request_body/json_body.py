"""Parses JSON bodies within limits of nesting and of the number of values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson

from fleet_contract.errors import BadRequest

MAX_DEPTH = 64
MAX_VALUES = 350_000
"""Maximum number of values in one body: OpenAI's API accepts 300,000 token ids in a request."""
VALUE_BYTES = 150
"""Memory of a parsed value at most, besides the text of a string: an object with one member."""
SLICE_BYTES = 256 * 1024
"""Scanned in one call, which holds the interpreter lock."""

Data = bytes | bytearray
"""A body; one that arrives in chunks grows in place."""

_ALL = set(range(256))
_NOT_OPENING = bytes(_ALL - set(b"[{,"))
_NOT_STRUCTURE = bytes(_ALL - set(b"[]{},"))
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_BOM = b"\xef\xbb\xbf"


def count_values(raw: Data) -> int:
    """At least as many values as `raw` has, before anything is parsed.

    Raises BadRequest beyond MAX_VALUES or MAX_DEPTH. `raw` need not be valid JSON.
    """
    values = brackets = 0
    for at in range(0, len(raw), SLICE_BYTES):
        opening = raw[at : at + SLICE_BYTES].translate(None, _NOT_OPENING)
        values += len(opening)
        brackets += len(opening) - opening.count(b",")
        if brackets > MAX_DEPTH or values >= MAX_VALUES:
            break
    else:
        return values + 1
    # Texts may contain any of these characters.
    structure = _structure(raw)
    _check_depth(structure.translate(_BRACKETS, b","))
    return len(structure.translate(None, b"]}")) + 1


def parse_json(raw: Data) -> dict[str, Any]:
    """A JSON object. Raises BadRequest if `raw` is not one or exceeds the limits."""
    count_values(raw)
    return load_object(raw)


def load_object(raw: Data) -> dict[str, Any]:
    """As `parse_json`, without the limits."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise not_json(raw, error) from None
    if not isinstance(body, dict):
        raise not_an_object()
    return body


def top_level_names(raw: Data) -> Sequence[str]:
    """The names of a JSON object's members in order, duplicates included. Raises BadRequest."""
    count_values(raw)
    names: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        nonlocal names  # the outermost object is complete last
        names = [name for name, _ in pairs]

    try:
        json.loads(raw, object_pairs_hook=keep)
    except ValueError as error:
        raise not_json(raw, error) from None
    return names


def not_an_object() -> BadRequest:
    """The error for JSON that is not an object."""
    return BadRequest("The body must be a JSON object.", code="invalid_json")


def not_json(raw: Data, error: Exception) -> BadRequest:
    """The error for a body that a parser rejected with `error`."""
    if not raw.strip():
        text = "is empty; a JSON object is expected"
    elif raw.startswith(_BOM):
        text = "begins with a byte order mark; JSON is sent as UTF-8 without one"
    else:
        try:
            raw.decode()
            text = f"is not valid JSON: {error}"
        except UnicodeDecodeError as wrong:
            byte = raw[wrong.start]
            text = f"is not UTF-8, which JSON must be: byte {wrong.start} is {byte:#04x}"
    return BadRequest(f"The body {text}.", code="invalid_json")


def _structure(raw: Data) -> bytes:
    """The brackets and commas outside of strings, up to the first byte that is not valid JSON.
    Raises BadRequest beyond MAX_VALUES."""
    found: list[bytes] = []
    values = at = 0
    in_string = 0
    while at < len(raw):
        part = raw[at : at + SLICE_BYTES]
        at += len(part)
        if b"\\" in part:
            if (len(part) - len(part.rstrip(b"\\"))) % 2 and at < len(raw):
                part, at = part[:-1], at - 1  # the escaped character is in the next slice
            # Without escaped backslashes and quotes, every quote begins or ends a string.
            part = part.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = part.split(b'"')
        outside = b"".join(pieces[in_string::2]).translate(None, _NOT_STRUCTURE)
        in_string ^= (len(pieces) - 1) % 2
        values += len(outside.translate(None, b"]}"))
        if values >= MAX_VALUES:
            raise BadRequest(
                f"The body has more than {MAX_VALUES} values; send several smaller requests.",
                code="invalid_json",
            )
        found.append(outside)
    return b"".join(found)


def _check_depth(brackets: bytes) -> None:
    """Each step removes the innermost level. Raises BadRequest."""
    steps = 0
    while steps <= MAX_DEPTH and (shorter := brackets.replace(b"[]", b"")) != brackets:
        brackets = shorter
        steps += 1
    # What is left has no end: as deep as it is long.
    if steps + len(brackets) > MAX_DEPTH:
        raise BadRequest(
            f"The body is nested more than {MAX_DEPTH} levels deep.", code="invalid_json"
        )
