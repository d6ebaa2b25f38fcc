"""POST /tokenize and /detokenize in llama.cpp's shapes; fleet_server.tokens reads and answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import Body

TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class TokenizeBody(Body):
    """A text to be cut into tokens."""

    model: str | None = None
    """Id or alias."""
    content: str = Field(examples=["A text."])
    add_special: bool = False
    """Adds what the model's template puts around a text, such as `[CLS]`."""
    parse_special: bool = True
    """Only true: special tokens spelt in a text are read as such."""
    with_pieces: bool = False
    """Whether each token comes with what it stands for."""


class DetokenizeBody(Body):
    """Tokens to be joined to a text."""

    model: str | None = None
    """Id or alias."""
    tokens: list[SkipValidation[TokenId]] = Field(examples=[[5, 6, 7]])
    """Ids of the model's vocabulary."""


class TokenPiece(TypedDict):
    """A token and its text, or its bytes where it is no whole text."""

    id: int
    piece: str | list[int]


class Tokens(TypedDict):
    """Ids, with their pieces where those were asked for."""

    tokens: list[int] | list[TokenPiece]


class Content(TypedDict):
    """The text of tokens, special ones included."""

    content: str
