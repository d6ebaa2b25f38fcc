"""From a query and documents to token ids that fit the model; run in a worker thread."""

from __future__ import annotations

from fleet_contract.errors import PromptTooLong
from fleet_server.protocols import RerankModel
from fleet_server.rerank.request import RerankRequest


def prepare(asked: RerankRequest, model: RerankModel) -> list[list[int]]:
    """Token ids of each pair. Raises PromptTooLong for a pair longer than the model that is not
    to be cut, and for a query that leaves no room for a document."""
    pairs = model.tokenize_pairs(asked.query, asked.documents)
    long = [number for number, ids in enumerate(pairs) if len(ids) > model.max_tokens]
    if not long:
        return pairs
    if not asked.truncate:
        raise PromptTooLong(
            f"'{asked.param}[{long[0]}]' has {len(pairs[long[0]])} tokens together with the query; "
            f'this model reads at most {model.max_tokens}. Send "truncate": true to have it cut.',
            param=asked.param,
        )
    alone = len(model.tokenize_pairs(asked.query, [""])[0])
    if alone >= model.max_tokens:
        raise PromptTooLong(
            f"'query' has {alone} tokens; this model reads at most {model.max_tokens} of query and "
            f"document together.",
            param="query",
        )
    for number in long:
        pairs[number] = model.truncate_pair(pairs[number])
    return pairs
