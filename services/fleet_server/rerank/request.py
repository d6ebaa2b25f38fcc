"""Parses and validates the bodies of the rerank routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fleet_contract.api.rerank import NO_OP_VALUES, RerankBody
from fleet_contract.errors import BadRequest, UnsupportedParameter
from fleet_contract.spec import ModelSpec
from fleet_contract.spec_parts import Limits
from fleet_server.batching.totals import check_total
from fleet_server.no_ops import refuse_unsupported
from fleet_server.protocols import RerankModel
from fleet_web.errors import from_validation


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """A validated request. `param` is the field that holds the documents; `plain` selects the
    response format of text-embeddings-inference."""

    query: str
    documents: list[str]
    param: str
    top_n: int
    with_text: bool
    raw_scores: bool
    truncate: bool
    document_tokens: int | None = None
    """Maximum number of tokens of a document, if limited."""
    cohere: bool = False
    """Whether the response has the fields of Cohere's v2 API."""

    @property
    def plain(self) -> bool:
        return self.param == "texts"


def parse(body: Mapping[str, Any], spec: ModelSpec, *, cohere: bool = False) -> RerankRequest:
    """The request in a body, of Cohere's v2 API or another one. Raises BadRequest with `param`."""
    try:
        given = RerankBody.model_validate(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    if given.documents is not None and given.texts is not None:
        raise BadRequest("Use either 'documents' or 'texts', not both.", param="texts")
    refuse_unsupported(body, NO_OP_VALUES)
    param = "documents" if given.texts is None else "texts"
    documents = _documents(given)
    _check_texts(given.query, documents, param, spec.limits)
    by_default = cohere or spec.limits.truncate_inputs
    return RerankRequest(
        query=given.query,
        documents=documents,
        param=param,
        top_n=min(given.top_n or len(documents), len(documents)),
        with_text=bool(given.return_documents if param == "documents" else given.return_text),
        raw_scores=bool(given.raw_scores),
        truncate=by_default if given.truncate is None else given.truncate,
        document_tokens=given.max_tokens_per_doc,
        cohere=cohere,
    )


def check_document_tokens(parsed: RerankRequest, model: RerankModel) -> None:
    """Raises UnsupportedParameter for a limit of documents below the model's own length."""
    if parsed.document_tokens is not None and parsed.document_tokens < model.max_tokens:
        raise UnsupportedParameter(
            f"'max_tokens_per_doc' is {parsed.document_tokens}; it must be at least "
            f"{model.max_tokens}, the model's context, to which documents are truncated.",
            param="max_tokens_per_doc",
        )


def _documents(given: RerankBody) -> list[str]:
    if given.texts is not None:
        return given.texts
    if given.documents is None:
        raise BadRequest(
            "Missing required parameter: 'documents'.", param="documents", code="missing"
        )
    return [_text(entry, number) for number, entry in enumerate(given.documents)]


def _text(entry: Any, number: int) -> str:
    text = entry.get("text") if isinstance(entry, dict) else entry
    if not isinstance(text, str):
        raise BadRequest(
            f"'documents[{number}]' must be a string or an object with a string 'text'.",
            param=f"documents[{number}]",
            code="invalid_value",
        )
    return text


def _check_texts(query: str, documents: list[str], param: str, limits: Limits) -> None:
    if not query:
        raise BadRequest("'query' must not be empty.", param="query")
    if not documents:
        raise BadRequest(f"{param!r} must not be empty.", param=param)
    if len(documents) > limits.max_items:
        raise BadRequest(
            f"{param!r} has {len(documents)} items; at most {limits.max_items} are accepted.",
            param=param,
        )
    check_total(len(query) + sum(map(len, documents)), limits, param)
    _check_length(query, "query", "query", limits.max_text_chars)
    for number, text in enumerate(documents):
        _check_length(text, f"{param}[{number}]", param, limits.max_text_chars)


def _check_length(text: str, name: str, param: str, most: int) -> None:
    if len(text) > most:
        raise BadRequest(
            f"{name!r} has {len(text)} characters; at most {most} are accepted.", param=param
        )
