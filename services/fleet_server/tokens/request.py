"""The bodies of /tokenize and /detokenize, in llama.cpp's shapes; strict types in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_web.errors import from_validation

MAX_TOKENS = 1_000_000


class TokenizeBody(BaseModel):
    """`add_special` adds what the model's template puts around a text, such as `[CLS]`."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model: str | None = None
    content: str
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class DetokenizeBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    model: str | None = None
    tokens: list[Any]


Body = TypeVar("Body", bound=BaseModel)


def parse_tokenize(raw: Mapping[str, Any], most_chars: int) -> TokenizeBody:
    """Raises BadRequest with `param`."""
    given = _validated(raw, TokenizeBody)
    if len(given.content) > most_chars:
        raise BadRequest(
            f"'content' has {len(given.content)} characters; at most {most_chars} are accepted.",
            param="content",
        )
    if not given.parse_special:
        raise UnsupportedParameter(
            "'parse_special' false is not honoured: special tokens in a text are read as such.",
            param="parse_special",
        )
    return given


def parse_detokenize(raw: Mapping[str, Any], vocab_size: int) -> list[int]:
    """Token ids of the vocabulary. Raises BadRequest with `param`."""
    tokens = _validated(raw, DetokenizeBody).tokens
    if len(tokens) > MAX_TOKENS:
        raise BadRequest(
            f"'tokens' has {len(tokens)} items; at most {MAX_TOKENS} are accepted.", param="tokens"
        )
    for number, token in enumerate(tokens):
        if type(token) is not int or not 0 <= token < vocab_size:
            raise BadRequest(
                f"'tokens[{number}]' must be a token id, a whole number from 0 to "
                f"{vocab_size - 1}.",
                param="tokens",
                code="invalid_value",
            )
    return tokens


def _validated(raw: Mapping[str, Any], kind: type[Body]) -> Body:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise from_validation(error) from None
