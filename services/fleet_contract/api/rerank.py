"""POST /v1/rerank and its other spellings, as Jina, Cohere, llama.cpp and
text-embeddings-inference have it; read and answered by fleet_server.rerank.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, SkipValidation
from typing_extensions import TypedDict

from fleet_contract.api.base import Body, Positive, Usage, one_of


class Document(TypedDict):
    """A text, as an object."""

    text: str


def _one_is_needed(schema: dict[str, Any]) -> None:
    schema["oneOf"] = one_of("documents", "texts")


class RerankBody(Body):
    """A query, and what may answer it: `documents`, or `texts` with `return_text`."""

    model_config = ConfigDict(json_schema_extra=_one_is_needed)

    model: str | None = None
    """Id or alias. May be left out where one model only reranks."""
    query: str = Field(min_length=1, examples=["Who wrote it?"])
    documents: Annotated[list[SkipValidation[str | Document]], Field(min_length=1)] | None = Field(
        default=None, examples=[["Anna wrote it.", "It is blue."]]
    )
    """Each is checked by fleet_server.rerank.request, with an error that names its place."""
    texts: Annotated[list[str], Field(min_length=1, fail_fast=True)] | None = None
    """text-embeddings-inference's name of them; it has the answer in its shape."""
    top_n: Positive | None = None
    """How many of the best are given; all when left out."""
    return_documents: bool | None = None
    return_text: bool | None = None
    raw_scores: bool | None = None
    """Whether scores are the model's logits rather than their sigmoid."""
    truncate: bool | None = None
    """Whether a pair longer than the model is cut rather than refused."""


class RankedDocument(TypedDict):
    """A document's place among those sent, and how well it answers."""

    index: int
    relevance_score: float
    document: NotRequired[Document]


class RerankResponse(TypedDict):
    """The best, in order. The answer to `documents`."""

    model: str
    object: str
    usage: Usage
    results: list[RankedDocument]


class RankedText(TypedDict):
    """An item of the answer to `texts`."""

    index: int
    score: float
    text: NotRequired[str]
