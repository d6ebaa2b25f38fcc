"""POST /v1/embeddings, and llama.cpp's /embedding and /embeddings; read by fleet_server.embeddings.

Sources: platform.openai.com/docs/api-reference/embeddings and llama.cpp's tools/server/README.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import LARGEST, Body, Positive, Usage, one_of

Text = Annotated[str, Field(min_length=1)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]
Inputs = (
    Text | Annotated[list[Text], Field(min_length=1)] | TokenIds
    | Annotated[list[TokenIds], Field(min_length=1)]
)  # fmt: skip
"""One text, several, the token ids of one, or of several."""
Encoding = Literal["float", "base64"]


class EmbeddingBody(Body):
    """OpenAI's parameters, with `truncate` and `prompt_name` as in text-embeddings-inference."""

    model: str | None = None
    """Id or alias. May be left out where one model only gives embeddings."""
    input: SkipValidation[Inputs] = Field(examples=[["A text.", "Another."]])
    """Checked by fleet_server.embeddings.request, which copies no token id."""
    encoding_format: Encoding | None = None
    """`base64` is of little-endian float32."""
    dimensions: Positive | None = None
    """The model's own size, or one that it was trained to be cut to."""
    user: str | None = None
    """Has no effect."""
    truncate: bool | None = None
    """Whether an input longer than the model is cut rather than refused."""
    prompt_name: str | None = None
    """Which of the prompts in the model's files is put before each text, such as `query`; without
    it, the one they name as default, if any."""


def _one_is_needed(schema: dict[str, Any]) -> None:
    schema["oneOf"] = one_of("content", "input")


class NativeBody(Body):
    """llama.cpp's parameters: `content`, or `input` as a second name of it."""

    model_config = ConfigDict(json_schema_extra=_one_is_needed)

    model: str | None = None
    input: SkipValidation[Inputs | None] = None
    """Given instead of `content`."""
    content: SkipValidation[Inputs | None] = Field(default=None, examples=["A text."])
    encoding_format: Literal["float"] | None = None
    embd_normalize: int = Field(default=2, ge=-1, le=LARGEST)
    """0 (largest value 32760), 1 (sum of absolute values 1), 2 (length 1) or a higher p-norm."""
    truncate: bool | None = None


class EmbeddingItem(TypedDict):
    """A vector, as numbers or in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(TypedDict):
    """A vector of length 1 for each input, in order."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: Usage


class NativeEmbedding(TypedDict):
    """The vectors of one input: always one."""

    index: int
    embedding: list[list[float]]
