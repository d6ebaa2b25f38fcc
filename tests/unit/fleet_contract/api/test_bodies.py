"""Properties of the bodies of all tasks."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fleet_contract.api.base import JsonBody
from fleet_contract.api.chat import ChatBody
from fleet_contract.api.completions import CompletionBody
from fleet_contract.api.embeddings import EmbeddingBody, NativeBody
from fleet_contract.api.rerank import RerankBody
from fleet_contract.api.responses import ResponsesBody
from fleet_contract.api.tokens import DetokenizeBody, TokenizeBody

BODIES = (
    ChatBody, CompletionBody, ResponsesBody, EmbeddingBody, NativeBody, RerankBody, TokenizeBody,
    DetokenizeBody,
)  # fmt: skip
MANY: list[Any] = [
    [0] * 5000,
    [None] * 5000,
    ["x", *[0] * 5000],
    {str(n): 0 for n in range(5000)},
    {str(n): "x" for n in range(5000)},
]
"""A few megabytes of these would give gigabytes of errors, one for each."""


def error_count(body: type[JsonBody], given: Any) -> int:
    try:
        body.model_validate(given)
    except ValidationError as error:
        return error.error_count()
    return 0


@pytest.mark.parametrize("body", BODIES)
def test_many_wrong_values_give_few_errors(body: type[JsonBody]) -> None:
    for name in body.model_fields:
        for value in MANY:
            assert error_count(body, {name: value}) < 10, (name, str(value)[:20])


@pytest.mark.parametrize("body", BODIES)
def test_the_model_field_is_optional(body: type[JsonBody]) -> None:
    assert not body.model_fields["model"].is_required()
