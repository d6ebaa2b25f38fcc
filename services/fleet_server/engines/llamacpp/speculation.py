"""Speculative decoding: guesses from earlier text and from a draft model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xllamacpp

from fleet_contract.spec import ModelSpec
from fleet_prepare import gguf_head
from fleet_server.load_error import LoadError

KINDS = xllamacpp.common_speculative_type
PROMPT_LOOKUP = KINDS.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE
DRAFT = KINDS.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE


PADDING = 128
"""Tokens by which the vocabularies of models of one family may differ in length."""


def add(params: Any, spec: ModelSpec, draft: Path | None) -> None:
    """Add to `CommonParams` what the spec wants; `draft` is the GGUF of the draft model.

    Raises LoadError if its vocabulary is another one: llama.cpp would guess wrong tokens.
    """
    wanted, given = spec.speculative, params.speculative
    types = []
    if wanted.prompt_lookup:
        types.append(PROMPT_LOOKUP)
        given.ngram_simple.size_n = wanted.ngram
        given.ngram_simple.size_m = wanted.tokens
    if draft is not None:
        if not _is_same(gguf_head.tokens(Path(params.model.path)), gguf_head.tokens(draft)):
            raise LoadError(
                f"The draft model {draft.name} has another vocabulary than {spec.model}.",
                "Name a smaller model of the same family.",
            )
        types.append(DRAFT)
        given.draft.mparams.path = str(draft)
        given.draft.n_max = wanted.tokens
        given.draft.n_gpu_layers = params.n_gpu_layers
        given.draft.cache_type_k = params.cache_type_k
        given.draft.cache_type_v = params.cache_type_v
        for name in ("cpuparams", "cpuparams_batch"):
            getattr(given.draft, name).n_threads = getattr(params, name).n_threads
    if types:
        given.types = types


def _is_same(one: list[str], other: list[str]) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared] and max(len(one), len(other)) - shared <= PADDING
