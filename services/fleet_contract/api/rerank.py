"""POST /v1/rerank and its variants in the APIs of Jina, Cohere, llama.cpp and TEI.

Source of /v2/rerank: docs.cohere.com/reference/rerank.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import JsonBody, Positive, Usage, add_no_ops, one_of


class Document(TypedDict):
    """A text in an object."""

    text: str


NO_OP_VALUES: dict[str, tuple[Any, ...]] = {
    "max_chunks_per_doc": (None,),
    "rank_fields": (None, ["text"]),
    "top_k": (None,),
    "instruction": (None,),
    "truncate_prompt_tokens": (None,),
    "max_tokens_per_query": (None,),
    "truncation_direction": (None, "right", "Right"),
}
"""Parameters of other services that change the scores, with the values that have no effect."""


def _extend(schema: dict[str, Any]) -> None:
    schema["oneOf"] = one_of("documents", "texts")
    add_no_ops(schema, NO_OP_VALUES)


class RerankBody(JsonBody):
    """A query and the texts to rank: `documents`, or `texts` with `return_text`."""

    model_config = ConfigDict(json_schema_extra=_extend)

    model: str | None = None
    """Id or alias. Optional if only one model serves reranking."""
    query: str = Field(min_length=1, examples=["Who wrote it?"])
    documents: Annotated[list[SkipValidation[str | Document]], Field(min_length=1)] | None = Field(
        default=None, examples=[["Anna wrote it.", "It is blue."]]
    )
    """The texts to rank."""
    texts: Annotated[list[str], Field(min_length=1, fail_fast=True)] | None = None
    """The texts to rank, with a response in the format of text-embeddings-inference."""
    top_n: Positive | None = None
    """Number of results; all by default."""
    return_documents: bool | None = None
    return_text: bool | None = None
    raw_scores: bool | None = None
    """Whether scores are logits instead of their sigmoid."""
    truncate: bool | None = None
    """Whether pairs longer than the model's context are truncated instead of refused; at /v2/rerank
    they are by default, as in Cohere's API."""
    max_tokens_per_doc: Positive | None = None
    """At least the model's context: documents are truncated to that only."""


class RankedDocument(TypedDict):
    """A document's index in the request and its score."""

    index: int
    relevance_score: float
    document: NotRequired[Document]


class ApiVersion(TypedDict):
    """The version of Cohere's API."""

    version: Literal["2"]


class TokenCount(TypedDict):
    """Tokens of a request."""

    input_tokens: int


class RerankMeta(TypedDict):
    """Facts about a response of /v2/rerank."""

    api_version: ApiVersion
    tokens: TokenCount


class RerankResponse(TypedDict):
    """The response to `documents`, best first; `id` and `meta` at /v2/rerank only."""

    id: NotRequired[str]
    meta: NotRequired[RerankMeta]
    model: str
    object: str
    usage: Usage
    results: list[RankedDocument]


class RankedText(TypedDict):
    """An item of the response to `texts`."""

    index: int
    score: float
    text: NotRequired[str]
