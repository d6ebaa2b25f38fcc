"""Parameters without support are accepted only with values that have no effect."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_contract.errors import UnsupportedParameter
from fleet_server.no_ops import refuse_unsupported, same_json

NO_OPS: dict[str, tuple[Any, ...]] = {
    "normalize": (None, True),
    "top_logprobs": (None, 0),
    "stream_options": (None, {}, {"include_obfuscation": False}),
    "modalities": (None, ["text"]),
}


@pytest.mark.parametrize(
    "body",
    [
        {}, {"normalize": True}, {"normalize": None}, {"top_logprobs": 0}, {"top_logprobs": 0.0},
        {"stream_options": {"include_obfuscation": False, "other": None}},
        {"stream_options": {"include_obfuscation": None}}, {"stream_options": {"effort": "none"}},
        {"modalities": ["text"]}, {"unknown": 1},
    ],
)  # fmt: skip
def test_values_without_effect_are_accepted(body: dict[str, Any]) -> None:
    refuse_unsupported(body, NO_OPS)


@pytest.mark.parametrize(
    "body",
    [
        {"normalize": False}, {"normalize": 1}, {"normalize": "true"}, {"normalize": []},
        {"normalize": {}}, {"top_logprobs": False}, {"top_logprobs": 1},
        {"stream_options": {"include_obfuscation": 0}},
        {"stream_options": {"include_obfuscation": True}}, {"stream_options": {"other": False}},
        {"stream_options": []}, {"modalities": ["text", "audio"]}, {"modalities": [["text"]]},
    ],
)  # fmt: skip
def test_values_with_an_effect_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameter, match="; accepted values: null or ") as caught:
        refuse_unsupported(body, NO_OPS)
    assert caught.value.param == next(iter(body))


def test_booleans_are_not_numbers_in_json() -> None:
    assert same_json([{"a": 0}], [{"a": 0.0}])
    assert not same_json([{"a": 0}], [{"a": False}])
    assert not same_json({"a": 1}, {"b": 1})
    assert not same_json({}, [])
