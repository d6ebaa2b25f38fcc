"""Prepares the inputs of a request: cache lookup, tokenisation, length checks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from fleet_contract.errors import BadRequest, PromptTooLong
from fleet_server.batching.prefixes import tokenized
from fleet_server.embeddings.cache import MAX_KEY_LENGTH, CachedVector, VectorCache
from fleet_server.embeddings.request import EmbeddingRequest
from fleet_server.protocols import EmbeddingModel, Float32

OTHER_TOKENIZER = (
    "Ids of another model's tokenizer, such as OpenAI's, give wrong vectors: send texts instead "
    "(LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False)."
)


@dataclass(frozen=True, slots=True)
class PreparedInputs:
    """The distinct inputs of a request: those found in the cache, and the token ids of the others.

    `keys` are the keys of the distinct inputs; `rows` maps each input of the request to one of
    them. `batch` holds the token ids of the keys that are not in `found`, in the order of `keys`.
    """

    keys: list[Hashable]
    rows: list[int]
    found: dict[Hashable, CachedVector]
    batch: list[list[int]]

    @property
    def missing(self) -> list[Hashable]:
        return [key for key in self.keys if key not in self.found]

    @property
    def tokens(self) -> int:
        """Total number of tokens of the request's inputs, duplicates included."""
        lengths = self._lengths()
        return sum(lengths[self.keys[row]] for row in self.rows)

    def assemble(self, fresh: Float32 | None, dimensions: int) -> Float32:
        """The vectors of all inputs, `[len(rows), dimensions]`; `fresh` has those of `batch`."""
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
        """Cache the computed vectors, except those of very long inputs."""
        for key, vector, ids in zip(self.missing, fresh, self.batch, strict=True):
            if len(ids) <= MAX_KEY_LENGTH and _size(key) <= MAX_KEY_LENGTH:
                cache.put(key, vector, len(ids))

    def _lengths(self) -> dict[Hashable, int]:
        computed = dict(zip(self.missing, map(len, self.batch), strict=True))
        return computed | {key: kept.tokens for key, kept in self.found.items()}


class TokenIdsRefused(BadRequest):
    """Token ids that this model's tokenizer does not produce."""

    default_code = "invalid_token_ids"


def prepare(parsed: EmbeddingRequest, model: EmbeddingModel, cache: VectorCache) -> PreparedInputs:
    """Look up the inputs in the cache and tokenise the others.

    Raises TokenIdsRefused for ids outside the vocabulary or without the tokenizer's special tokens,
    and PromptTooLong for an input that exceeds the model's length and may not be truncated; both
    name the input.
    """
    first: dict[Hashable, int] = {}
    rows = []
    for number, given in enumerate(parsed.inputs):
        content = given if isinstance(given, str) else _checked(given, number, parsed, model)
        key = (content, parsed.truncate)
        first.setdefault(key, number)
        rows.append(key)
    keys = list(first)
    place = {key: row for row, key in enumerate(keys)}
    found = {key: kept for key in keys if (kept := cache.get(key)) is not None}
    numbers = [first[key] for key in keys if key not in found]
    if parsed.inputs and isinstance(parsed.inputs[0], str):
        batch = _token_ids(numbers, parsed, model)
    else:
        batch = [list(key[0]) for key in keys if key not in found]  # type: ignore[index]
    return PreparedInputs(keys, [place[key] for key in rows], found, batch)


def _token_ids(
    numbers: Sequence[int], parsed: EmbeddingRequest, model: EmbeddingModel
) -> list[list[int]]:
    texts = [given for number in numbers if isinstance(given := parsed.inputs[number], str)]
    found = []
    for number, tokens in zip(
        numbers, tokenized(texts, model.max_tokens, model.tokenize), strict=True
    ):
        ids = tokens.ids
        if len(ids) > model.max_tokens:
            if not parsed.truncate:
                raise _too_long(len(ids), number, parsed, model, whole=tokens.whole)
            ids = model.truncate(ids)
        found.append(ids)
    return found


def _too_long(
    length: int, number: int, parsed: EmbeddingRequest, model: EmbeddingModel, *, whole: bool
) -> PromptTooLong:
    counted = f"{length}" if whole else f"more than {model.max_tokens}"
    return PromptTooLong(
        f"'{parsed.param}[{number}]' has {counted} tokens; this model reads at most "
        f'{model.max_tokens}. Send "truncate": true to truncate it.',
        param=parsed.param,
    )


def _checked(
    ids: list[int], number: int, parsed: EmbeddingRequest, model: EmbeddingModel
) -> tuple[int, ...]:
    """The ids as the model reads them, truncated if the request permits it."""
    if len(ids) > model.max_tokens and not parsed.truncate:
        raise _too_long(len(ids), number, parsed, model, whole=True)
    if set(map(type, ids)) != {int}:
        raise BadRequest(
            f"'{parsed.param}[{number}]' must contain only token ids, which are integers.",
            param=parsed.param,
            code="invalid_value",
        )
    if min(ids) < 0 or max(ids) >= model.vocab_size:
        wrong = next(token for token in ids if not 0 <= token < model.vocab_size)
        raise TokenIdsRefused(
            f"'{parsed.param}[{number}]' contains the token id {wrong}; this model's ids are 0 to "
            f"{model.vocab_size - 1}. {OTHER_TOKENIZER}",
            param=parsed.param,
        )
    if parsed.add_special_tokens is not False:
        _check_special(ids, number, parsed, model)
    if len(ids) > model.max_tokens:
        ids = model.truncate(ids)
    return tuple(ids)


def _check_special(
    ids: list[int], number: int, parsed: EmbeddingRequest, model: EmbeddingModel
) -> None:
    opening, closing = getattr(model, "special_ids", ((), ()))
    begin, end = list(opening), list(closing)
    if ids[: len(begin)] != begin or ids[len(ids) - len(end) :] != end:
        raise TokenIdsRefused(
            f"'{parsed.param}[{number}]' lacks the special tokens that this model's tokenizer puts "
            f"around a text (ids {begin} before and {end} after it). {OTHER_TOKENIZER} Ids of this "
            f'model without special tokens need "add_special_tokens": false.',
            param=parsed.param,
        )


def _size(key: Hashable) -> int:
    content = key[0] if isinstance(key, tuple) else key
    return len(content) if isinstance(content, str | tuple) else 0
