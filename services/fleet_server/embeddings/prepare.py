"""From a request's inputs to what must be computed: cache first, then tokens and their checks.

Called by the embedding service in a worker thread, because tokenising takes time.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from fleet_contract.errors import BadRequest, PromptTooLong
from fleet_server.embeddings.cache import MAX_KEY_LENGTH, Kept, VectorCache
from fleet_server.embeddings.request import EmbeddingRequest
from fleet_server.protocols import EmbeddingModel, Float32


@dataclass(frozen=True, slots=True)
class Prepared:
    """Inputs that differ, each once: those found in the cache, and the token ids of the others.

    `keys` are the keys of the distinct inputs, `rows` says for each input of the request which
    one it is. `batch` goes with those of `keys` that are not in `found`, in their order.
    """

    keys: list[Hashable]
    rows: list[int]
    found: dict[Hashable, Kept]
    batch: list[list[int]]

    @property
    def missing(self) -> list[Hashable]:
        return [key for key in self.keys if key not in self.found]

    @property
    def tokens(self) -> int:
        """Tokens of all inputs of the request, repeated ones each time."""
        lengths = self._lengths()
        return sum(lengths[self.keys[row]] for row in self.rows)

    def assemble(self, fresh: Float32 | None, dimensions: int) -> Float32:
        """Vectors of all inputs of the request, `[len(rows), dimensions]`; `fresh` goes with
        `batch`."""
        if fresh is not None and not self.found and len(fresh) == len(self.rows):
            return fresh
        distinct = np.empty((len(self.keys), dimensions), dtype=np.float32)
        place = {key: number for number, key in enumerate(self.keys)}
        for key, kept in self.found.items():
            distinct[place[key]] = kept.vector
        if fresh is not None:
            distinct[[place[key] for key in self.missing]] = fresh
        return distinct[self.rows]

    def remember(self, fresh: Float32, cache: VectorCache) -> None:
        """Keep what was computed, inputs of extreme length excepted."""
        for key, vector, ids in zip(self.missing, fresh, self.batch, strict=True):
            if len(ids) <= MAX_KEY_LENGTH and _size(key) <= MAX_KEY_LENGTH:
                cache.put(key, vector, len(ids))

    def _lengths(self) -> dict[Hashable, int]:
        computed = dict(zip(self.missing, map(len, self.batch), strict=True))
        return computed | {key: kept.tokens for key, kept in self.found.items()}


def prepare(asked: EmbeddingRequest, model: EmbeddingModel, cache: VectorCache) -> Prepared:
    """Raises BadRequest for ids outside the vocabulary, PromptTooLong for an input longer than
    the model that is not to be cut; both name the input."""
    first: dict[Hashable, int] = {}
    rows = []
    for number, given in enumerate(asked.inputs):
        content = given if isinstance(given, str) else _checked(given, number, asked, model)
        key = (content, asked.truncate)
        first.setdefault(key, number)
        rows.append(key)
    keys = list(first)
    place = {key: row for row, key in enumerate(keys)}
    found = {key: kept for key in keys if (kept := cache.get(key)) is not None}
    numbers = [first[key] for key in keys if key not in found]
    batch = _token_ids([asked.inputs[number] for number in numbers], model)
    fitting = [_fit(ids, number, asked, model) for ids, number in zip(batch, numbers, strict=True)]
    return Prepared(keys, [place[key] for key in rows], found, fitting)


def _token_ids(inputs: Sequence[str | list[int]], model: EmbeddingModel) -> list[list[int]]:
    texts = [given for given in inputs if isinstance(given, str)]
    if texts:
        return model.tokenize(texts)
    return [given for given in inputs if not isinstance(given, str)]


def _fit(ids: list[int], number: int, asked: EmbeddingRequest, model: EmbeddingModel) -> list[int]:
    if len(ids) <= model.max_tokens:
        return ids
    if asked.truncate:
        return model.truncate(ids)
    raise PromptTooLong(
        f"'{asked.param}[{number}]' has {len(ids)} tokens; this model reads at most "
        f'{model.max_tokens}. Send "truncate": true to have it cut.',
        param=asked.param,
    )


def _checked(
    ids: list[int], number: int, asked: EmbeddingRequest, model: EmbeddingModel
) -> tuple[int, ...]:
    if set(map(type, ids)) != {int}:
        raise BadRequest(
            f"'{asked.param}[{number}]' must hold token ids, whole numbers, only.",
            param=asked.param,
            code="invalid_value",
        )
    if min(ids) < 0 or max(ids) >= model.vocab_size:
        wrong = next(token for token in ids if not 0 <= token < model.vocab_size)
        raise BadRequest(
            f"'{asked.param}[{number}]' holds the token id {wrong}; this model's vocabulary is "
            f"0 to {model.vocab_size - 1}.",
            param=asked.param,
        )
    return tuple(ids)


def _size(key: Hashable) -> int:
    content = key[0] if isinstance(key, tuple) else key
    return len(content) if isinstance(content, str | tuple) else 0
