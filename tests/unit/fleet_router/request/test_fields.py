"""The fields of a JSON body that are read without building the document."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from fleet_contract.errors import BadRequest
from fleet_router.request.fields import (
    has_escaped_letters,
    may_have_images,
    model_of,
    read_fields,
    scalar,
    with_model,
)


@pytest.mark.parametrize(
    ("raw", "model"),
    [
        (b'{"model": "acme/one", "messages": []}', "acme/one"),
        (b'{"messages": [{"model": "other"}], "model": "acme/\\u00e9"}', "acme/é"),
        (b'{"messages": "\\"model\\": \\"x\\"", "model": "acme/one"}', "acme/one"),
        (b'{"m\\u006fdel": "acme/one"}', "acme/one"),
        (b'{"tools": [{"properties": {"model": 1, "Model": 2}}], "model": "a"}', "a"),
        (b'{"model": null}', None),
        (b"{}", None),
    ],
)
def test_the_model_is_found(raw: bytes, model: str | None) -> None:
    assert model_of(read_fields(raw)) == model


@pytest.mark.parametrize("value", [b"1", b'""', b"[]", b'["a"]', b'{"a": 1}', b'"\xff"', b"nul"])
def test_invalid_names_are_refused(value: bytes) -> None:
    with pytest.raises(BadRequest):
        model_of(read_fields(b'{"model": ' + value + b"}"))


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model": "a", "model": "b"}',
        b'{"model": "a", "x": {"model": 1}, "model": "a"}',
        b'{"model": "a", "mod\\u0065l": "b"}',
        b'{"\\u006Dodel": "b", "model": "a"}',
        b'{"model": "a", "Model": "b"}',
        b'{"MODEL": "b", "model": "a"}',
        b'{"M\\u004fDEL": "b", "model": "a"}',
        b'{"Model": "a"}',
        b'{"\\u004dodel": "a"}',
    ],
)
def test_a_second_model_and_one_in_another_case_are_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        read_fields(raw)
    assert (caught.value.param or "").lower() == "model"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "empty"),
        (b"[]", "must be a JSON object"),
        (b'{"a": 1', "not valid JSON"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b"\xff", "not UTF-8"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "levels deep"),
        (b'{"a": [' + b"[]," * 400_000 + b"0]}", "values"),
        (b'{"model": "a", ' + b'"b": 1, ' * 20 + b"}", "not valid JSON"),
    ],
)
def test_errors_are_those_of_the_servers(raw: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_fields(raw)


def test_no_document_is_built() -> None:
    raw = json.dumps({"model": "a", "messages": [{}] * 150_000, "x": "y" * 10**6}).encode()
    tracemalloc.start()
    try:
        assert model_of(read_fields(raw)) == "a"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000  # 150,000 dictionaries alone take 9,600,000


def test_scalars() -> None:
    fields = read_fields(b'{"stream": true, "max_tokens": 12, "prompt": "x", "n_predict": [1]}')
    assert scalar(fields.stream) is True
    assert scalar(fields.max_tokens) == 12
    assert scalar(fields.max_completion_tokens) is None
    assert scalar(read_fields(b'{"stream": "' + b"x" * 100 + b'"}').stream) is None


def test_replacing_the_model_keeps_all_other_bytes() -> None:
    raw = b'{"a": [1.50, "\\u00e9", 123456789012345678901234567890], "model": "x", "b":  null}'
    written = with_model(raw, 'acme/"one"')
    assert b'[1.50, "\\u00e9", 123456789012345678901234567890]' in written
    assert json.loads(written) == json.loads(raw) | {"model": 'acme/"one"'}
    assert json.loads(with_model(b"{}", "acme/one")) == {"model": "acme/one"}


@pytest.mark.parametrize("shift", range(14))
def test_names_are_found_where_a_slice_ends(shift: int) -> None:
    """Bodies are searched in slices of 1 MiB."""
    start = b'{"x": "'
    for name in (b'"Model": 1', b'"mod\\u0065l": 1'):
        filled = start + b"x" * (2**20 - len(start) - 3 - shift) + b'", ' + name
        with pytest.raises(BadRequest, match="'model'"):
            read_fields(filled + b', "model": "a"}', escaped=has_escaped_letters(filled))
    filled = start + b"x" * (2**20 - len(start) - 3 - shift) + b'", "image_url": 1}'
    assert may_have_images(filled)
    assert not may_have_images(filled.replace(b"image_url", b"other"))
