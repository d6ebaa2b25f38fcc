"""POST /tokenize and /detokenize, as in llama.cpp's server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import JsonBody

TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class TokenizeBody(JsonBody):
    """A text to tokenize."""

    model: str | None = None
    """Id or alias."""
    content: str = Field(examples=["A text."])
    add_special: bool = False
    """Adds the special tokens that the model's template puts around a text, such as `[CLS]`."""
    parse_special: bool = False
    """Whether special tokens written in the text are parsed as such; in a message of a chat they
    are text."""
    with_pieces: bool = False
    """Whether each token is returned with its text."""


class DetokenizeBody(JsonBody):
    """Tokens to turn into text."""

    model: str | None = None
    """Id or alias."""
    tokens: list[SkipValidation[TokenId]] = Field(examples=[[5, 6, 7]])
    """Ids in the model's vocabulary."""


class TokenPiece(TypedDict):
    """A token and its text, or its bytes where they are not valid UTF-8."""

    id: int
    piece: str | list[int]


class Tokens(TypedDict):
    """Token ids, with their pieces if requested."""

    tokens: list[int] | list[TokenPiece]


class Content(TypedDict):
    """The text of the tokens, special ones included."""

    content: str
