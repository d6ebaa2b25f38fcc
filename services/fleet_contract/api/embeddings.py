"""POST /v1/embeddings, and llama.cpp's /embedding and /embeddings.

Sources: platform.openai.com/docs/api-reference/embeddings and llama.cpp's tools/server/README.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import LARGEST, JsonBody, Positive, Usage, add_no_ops, one_of

Text = Annotated[str, Field(min_length=1)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]
Inputs = (
    Text | Annotated[list[Text], Field(min_length=1)] | TokenIds
    | Annotated[list[TokenIds], Field(min_length=1)]
)  # fmt: skip
"""A text, a list of texts, token ids, or a list of token ids."""
Encoding = Literal["float", "base64"]

NO_OP_VALUES: dict[str, tuple[Any, ...]] = {
    "normalize": (None, True),
    "truncation_direction": (None, "right", "Right"),
    "truncate_prompt_tokens": (None,),
    "late_chunking": (None, False),
    "embedding_type": (None, "float"),
    "output_dtype": (None, "float"),
}
"""Parameters of other services that change the vectors, with the values that have no effect."""
PROMPT_FIELDS = ("input_type", "task", "instruction")
"""Other services' names for the prompt of a text."""


def _add_no_ops(schema: dict[str, Any]) -> None:
    add_no_ops(schema, NO_OP_VALUES)


class EmbeddingBody(JsonBody):
    """OpenAI's parameters, plus `truncate` and `prompt_name` of text-embeddings-inference."""

    model_config = ConfigDict(json_schema_extra=_add_no_ops)

    model: str | None = None
    """Id or alias. Optional if only one model serves embeddings."""
    # Checked by the server instead: pydantic would copy every token id.
    input: SkipValidation[Inputs] = Field(examples=[["A text.", "Another."]])
    """The texts to embed."""
    encoding_format: Encoding | None = None
    """`base64` encodes little-endian float32."""
    dimensions: Positive | None = None
    """The model's vector length, or a shorter one it was trained for."""
    user: str | None = None
    """Has no effect."""
    truncate: bool | None = None
    """Whether inputs longer than the model's context are truncated instead of refused."""
    prompt_name: str | None = None
    """Name of the model's prompt to prepend to each text, such as `query`; by default the model's
    default prompt, if it has one."""
    add_special_tokens: bool | None = None
    """With token ids, `false` accepts ids without the special tokens that the model's tokenizer
    puts around a text. Not for texts."""
    input_type: str | None = None
    """Accepted if the model has no prompts; else use `prompt_name`."""
    task: str | None = None
    """As `input_type`."""
    instruction: str | None = None
    """As `input_type`."""


def _require_one(schema: dict[str, Any]) -> None:
    schema["oneOf"] = one_of("content", "input")
    _add_no_ops(schema)


class NativeBody(JsonBody):
    """llama.cpp's parameters: `content`, or `input` as another name for it."""

    model_config = ConfigDict(json_schema_extra=_require_one)

    model: str | None = None
    input: SkipValidation[Inputs | None] = None
    """Alternative to `content`."""
    content: SkipValidation[Inputs | None] = Field(default=None, examples=["A text."])
    encoding_format: Literal["float"] | None = None
    embd_normalize: int = Field(default=2, ge=-1, le=LARGEST)
    """0 (largest value 32760), 1 (taxicab), 2 (Euclidean) or a higher p-norm; -1 is refused."""
    truncate: bool | None = None
    add_special_tokens: bool | None = None
    """As of /v1/embeddings."""


class EmbeddingItem(TypedDict):
    """A vector, as numbers or in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(TypedDict):
    """A unit vector for each input, in order."""

    object: Literal["list"]
    data: list[EmbeddingItem]
    model: str
    usage: Usage


class NativeEmbedding(TypedDict):
    """The vectors of one input: always exactly one."""

    index: int
    embedding: list[list[float]]
