"""Parses and validates the bodies of /tokenize and /detokenize, in llama.cpp's format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from fleet_contract.api.base import JsonBody
from fleet_contract.api.tokens import DetokenizeBody, TokenizeBody
from fleet_contract.errors import BadRequest
from fleet_web.errors import from_validation

MAX_TOKENS = 300_000
"""Maximum number of tokens to turn into text; a JSON body may have 350,000 values."""

Kind = TypeVar("Kind", bound=JsonBody)


def parse_tokenize(raw: Mapping[str, Any], most_chars: int) -> TokenizeBody:
    """Raises BadRequest with `param`."""
    given = _validated(raw, TokenizeBody)
    if len(given.content) > most_chars:
        raise BadRequest(
            f"'content' has {len(given.content)} characters; at most {most_chars} are accepted.",
            param="content",
        )
    return given


def parse_detokenize(raw: Mapping[str, Any]) -> list[int]:
    """The tokens of a body, of which only the number is checked. Raises BadRequest with `param`."""
    tokens = _validated(raw, DetokenizeBody).tokens
    if len(tokens) > MAX_TOKENS:
        raise BadRequest(
            f"'tokens' has {len(tokens)} items; at most {MAX_TOKENS} are accepted.", param="tokens"
        )
    return tokens


def check_tokens(tokens: list[int], vocab_size: int) -> None:
    """Raises BadRequest with `param` unless all are ids of the vocabulary."""
    for number, token in enumerate(tokens):
        if type(token) is not int or not 0 <= token < vocab_size:
            raise BadRequest(
                f"'tokens[{number}]' must be a token id, an integer from 0 to {vocab_size - 1}.",
                param="tokens",
                code="invalid_value" if type(token) is not int else None,
            )


def _validated(raw: Mapping[str, Any], kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise from_validation(error, raw) from None
