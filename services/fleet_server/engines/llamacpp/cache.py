"""The GGUF file of a folder, and how many tokens its key/value cache holds."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_contract.spec import Dtype, ModelSpec
from fleet_contract.spec_parts import CacheType
from fleet_prepare.gguf_head import Value
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
        found: Mapping[str, Value],
        spec: ModelSpec,
        at_once: int,
        draft: Mapping[str, Value] | None = None,
        guesses: int = 0,
    ) -> KvCache:
        """The largest cache within `cache.kvGib` that `at_once` sequences use. Raises LoadError.

        `found` and `draft` are the metadata of the GGUFs of the model and of its draft model, which
        has a cache of as many tokens. Each sequence needs `guesses` tokens besides its context.
        Without a layer that is known to have keys and values, the cache holds one context.
        """
        own = _number(found, "context_length")
        length = spec.context_length or own
        if length is None:
            raise LoadError("The GGUF gives no context length.", "Set `contextLength`.")
        if own is not None and length > own:
            raise LoadError(f"contextLength is {length}; this model supports {own}.")
        shapes = [found] if draft is None else [found, draft]
        each = 4 if spec.dtype is Dtype.FLOAT32 else BYTES_EACH[spec.cache.type]
        per_token = math.ceil(sum(map(_numbers_per_token, shapes)) * each)
        if per_token == 0:
            return cls(_rounded(length + guesses), length)
        most = max(BLOCK, spec.cache.kv_bytes // per_token // BLOCK * BLOCK)
        if most < length + guesses:
            logger.warning(
                "%s has a context of %d tokens but a cache of %d; raise cache.kvGib (KV_CACHE_GIB)",
                spec.model, length, most,
            )  # fmt: skip
        tokens = min(most, _rounded(length + guesses) * at_once)
        return cls(tokens, min(length, tokens - guesses))


def _number(found: Mapping[str, Value], name: str) -> int | None:
    """A positive number of the architecture's metadata."""
    value = found.get(f"{found.get('general.architecture')}.{name}")
    return value if type(value) is int and value > 0 else None


def _numbers_per_token(found: Mapping[str, Value]) -> int:
    """Keys and values of a token in all layers. A model that does not give its heads has at most as
    many as its embeddings have; one without layers or embeddings is unknown and counts as 0.

    Layers with a sliding window count as others; recurrent ones have no heads.
    """
    layers, hidden = _number(found, "block_count"), _number(found, "embedding_length")
    if layers is None or hidden is None:
        logger.warning("The size of the key/value cache is unknown: the GGUF gives no layers.")
        return 0
    heads = _heads(found, "attention.head_count")
    if heads is None:
        return 2 * layers * hidden
    own = [heads] if isinstance(heads, int) else heads
    size = hidden // min(filter(None, own), default=hidden + 1)
    keys = _number(found, "attention.key_length") or size
    values = _number(found, "attention.value_length") or size
    cached = _heads(found, "attention.head_count_kv")
    if cached is None:
        cached = heads
    total = cached * layers if isinstance(cached, int) else sum(cached)
    return total * (keys + values)


def _heads(found: Mapping[str, Value], name: str) -> int | tuple[int, ...] | None:
    """How many heads every layer has, or each of them."""
    value = found.get(f"{found.get('general.architecture')}.{name}")
    numbers = value if isinstance(value, tuple) else (value,)
    if not numbers or not all(type(number) is int and number >= 0 for number in numbers):
        return None
    return value  # type: ignore[return-value]


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
