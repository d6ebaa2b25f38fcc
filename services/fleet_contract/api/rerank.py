"""POST /v1/rerank and its variants in the APIs of Jina, Cohere, llama.cpp and TEI."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import Body, Positive, Usage, one_of


class Document(TypedDict):
    """A text in an object."""

    text: str


def _require_one(schema: dict[str, Any]) -> None:
    schema["oneOf"] = one_of("documents", "texts")


class RerankBody(Body):
    """A query and the texts to rank: `documents`, or `texts` with `return_text`."""

    model_config = ConfigDict(json_schema_extra=_require_one)

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
    """Whether pairs longer than the model's context are truncated instead of refused."""


class RankedDocument(TypedDict):
    """A document's index in the request and its score."""

    index: int
    relevance_score: float
    document: NotRequired[Document]


class RerankResponse(TypedDict):
    """The response to `documents`, best first."""

    model: str
    object: str
    usage: Usage
    results: list[RankedDocument]


class RankedText(TypedDict):
    """An item of the response to `texts`."""

    index: int
    score: float
    text: NotRequired[str]
