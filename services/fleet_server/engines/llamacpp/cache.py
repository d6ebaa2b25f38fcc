"""The GGUF file of a folder, and how many tokens its key/value cache holds."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_contract.spec import Dtype, ModelSpec
from fleet_contract.spec_parts import CacheType
from fleet_prepare.gguf_head import Scalar
from fleet_server.load_error import LoadError
from fleet_weights import gguf_names

logger = logging.getLogger(__name__)

BYTES_EACH = {
    CacheType.AUTO: 2.0, CacheType.FLOAT16: 2.0, CacheType.Q8_0: 34 / 32, CacheType.Q4_0: 18 / 32,
}  # fmt: skip
"""Bytes of a number; the quantised ones are in blocks of 32 with a scale in float16."""
BLOCK = 256
"""llama.cpp rounds its cache up to a multiple of it."""


@dataclass(frozen=True, slots=True)
class KvCache:
    """A cache of `tokens` for all sequences; one sequence may use `context_length`."""

    tokens: int
    context_length: int

    @classmethod
    def fit(
        cls,
        found: Mapping[str, Scalar],
        spec: ModelSpec,
        at_once: int,
        draft: Mapping[str, Scalar] | None = None,
        guesses: int = 0,
    ) -> KvCache:
        """The largest cache within `cache.kvGib` that `at_once` sequences use. Raises LoadError.

        `found` and `draft` are the metadata of the GGUFs of the model and of its draft model, which
        has a cache of as many tokens. Each sequence needs `guesses` tokens besides its context.
        Without the shape of a model, which lists for each layer do not give, the cache holds one
        context.
        """
        own = _number(found, "context_length")
        length = spec.context_length or own
        if length is None:
            raise LoadError("The GGUF gives no context length.", "Set `contextLength`.")
        if own is not None and length > own:
            raise LoadError(f"contextLength is {length}; this model supports {own}.")
        shapes = [found] if draft is None else [found, draft]
        sizes = [_bytes_per_token(shape, spec) for shape in shapes]
        if None in sizes:
            logger.warning("%s: the size of the key/value cache is unknown", spec.model)
            return cls(_rounded(length + guesses), length)
        per_token = math.ceil(sum(size for size in sizes if size is not None))
        most = max(BLOCK, spec.cache.kv_bytes // per_token // BLOCK * BLOCK)
        if most < length + guesses:
            logger.warning(
                "%s has a context of %d tokens but a cache of %d; raise cache.kvGib (KV_CACHE_GIB)",
                spec.model, length, most,
            )  # fmt: skip
        tokens = min(most, _rounded(length + guesses) * at_once)
        return cls(tokens, min(length, tokens - guesses))


def _number(found: Mapping[str, Scalar], name: str) -> int | None:
    """A positive number of the architecture's metadata."""
    value = found.get(f"{found.get('general.architecture')}.{name}")
    return value if type(value) is int and value > 0 else None


def _bytes_per_token(found: Mapping[str, Scalar], spec: ModelSpec) -> float | None:
    layers, heads = _number(found, "block_count"), _number(found, "attention.head_count")
    hidden = _number(found, "embedding_length")
    if layers is None or heads is None or hidden is None:
        return None
    keys = _number(found, "attention.key_length") or hidden // heads
    values = _number(found, "attention.value_length") or keys
    kv_heads = _number(found, "attention.head_count_kv") or heads
    each = 4 if spec.dtype is Dtype.FLOAT32 else BYTES_EACH[spec.cache.type]
    return layers * kv_heads * (keys + values) * each


def files_of(folder: Path) -> Path:
    """The only GGUF of a folder, or `folder` if it is a file; of a model in parts the first one.

    Raises LoadError.
    """
    if folder.is_file():
        return folder
    files = {path.name for path in folder.glob("*.gguf")}
    found = [folder / name for name in gguf_names.models(files)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise LoadError(
        f"{folder} must hold one GGUF file for the llamacpp engine; it holds {names}.",
        "Select one with `source`.",
    )


def projector_of(model: Path) -> Path | None:
    """The image projector in the folder of a GGUF."""
    found = gguf_names.projector([path.name for path in model.parent.glob("*.gguf")])
    return None if found is None else model.parent / found


def _rounded(tokens: int) -> int:
    return -(-tokens // BLOCK) * BLOCK
