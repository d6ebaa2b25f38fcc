"""Limits of JSON before it is parsed, and the errors for invalid JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet_contract.errors import BadRequest
from fleet_web.request_body.json_body import (
    MAX_DEPTH,
    MAX_VALUES,
    SLICE_BYTES,
    count_values,
    parse_json,
    top_level_names,
)


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def values_in(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(values_in, value.values()))
    return 1 + (sum(map(values_in, value)) if isinstance(value, list) else 0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"a": 1, "b": [True, None, {"c": [[]]}]},
        {"text": 'commas, [brackets] and {braces}, \\ and " and \\" ' * 50_000},
        {"many": ['x,"y"', "\\", "[", "]]"] * 3000},
        {"ids": [[1, 2, 3]] * 1000},
    ],
)
def test_values_are_not_undercounted_and_a_text_counts_once(body: dict[str, Any]) -> None:
    raw = json.dumps(body, separators=(",", ":")).encode()
    exact = values_in(body)
    found = count_values(raw)
    assert exact <= found
    if len(raw) > MAX_VALUES or raw.count(b"[") > MAX_DEPTH:
        assert found <= 2 * exact + 1
    assert parse_json(raw) == body


@pytest.mark.parametrize("shift", range(4))
def test_escapes_are_read_right_where_a_slice_ends(shift: int) -> None:
    """Only the text has quotes and brackets: mistaken for structure, they would exceed the limit
    of nesting."""
    text = "x" * (SLICE_BYTES - 9 - shift) + '\\"[' * 200
    raw = b'{"b":' + json.dumps(text).encode() + b',"a":' + b"[" + b"[]," * 70 + b"[]]}"
    assert count_values(raw) <= 160


def test_a_body_may_be_as_deep_as_the_limit_and_no_deeper() -> None:
    assert parse_json(nested(MAX_DEPTH))
    with pytest.raises(BadRequest, match=f"more than {MAX_DEPTH} levels"):
        parse_json(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "raw",
    [b"[" * 200_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000,
     b'{"a":["]", ' * 1000 + b'"["' + b"]}" * 1000, nested(100) + b"\\",
     b'{"x":"' + b"]" * 100 + b'","a":' + b"[" * 80 + b"]" * 80 + b"}"],
)  # fmt: skip
def test_deep_ones_are_refused_unparsed(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet_web.request_body.json_body.orjson.loads", pytest.fail)
    with pytest.raises(BadRequest, match="levels deep"):
        parse_json(raw)


@pytest.mark.parametrize(
    "piece", [b"[],", b'"",', b"0,", b'{"a":0},', b'"\\\\",', b'"\\"",', b"[[[]]],"]
)
def test_too_many_values_are_refused_unparsed(
    piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet_web.request_body.json_body.orjson.loads", pytest.fail)
    with pytest.raises(BadRequest, match=f"more than {MAX_VALUES} values"):
        parse_json(b'{"a":[' + piece * MAX_VALUES + b"0]}")


def test_a_request_of_openais_size_is_accepted() -> None:
    body = parse_json(b'{"input":[' + b"[1,2,3]," * 74_999 + b"[1,2,3]]}")
    assert len(body["input"]) == 75_000


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": "\xe9"}', "is not UTF-8, which JSON must be: byte 7 is 0xe9"),
        (b"\x1f\x8b\x08\x00", "is not UTF-8"),
        (b'{"a": NaN}', "is not valid JSON"),
        (b'{"a": 1e999}', "is not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not valid JSON"),
        (b"[1]", "must be a JSON object"),
    ],
)
def test_errors_describe_the_defect(raw: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parse_json(raw)


def test_names_of_the_outermost_object_are_found_with_duplicates() -> None:
    raw = b'{"a": {"x": 1, "x": 2}, "\\u0061": [{"y": {}}], "b": "a"}'
    assert top_level_names(raw) == ["a", "a", "b"]
    with pytest.raises(BadRequest):
        top_level_names(b'{"a": }')
