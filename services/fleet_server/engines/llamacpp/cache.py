"""The GGUF file of a folder, and how many tokens its key/value cache holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_contract.spec import Dtype, ModelSpec
from fleet_prepare.gguf_head import Scalar
from fleet_server.load_error import LoadError
from fleet_weights import gguf_names

logger = logging.getLogger(__name__)

BLOCK = 256
"""llama.cpp rounds its cache up to a multiple of it."""


@dataclass(frozen=True, slots=True)
class KvCache:
    """A cache of `tokens` for all sequences; one sequence may use `context_length`."""

    tokens: int
    context_length: int

    @classmethod
    def fit(cls, found: Mapping[str, Scalar], spec: ModelSpec, at_once: int) -> KvCache:
        """The largest cache within `cache.kvGib` that `at_once` sequences use. Raises LoadError.

        `found` is the metadata of the GGUF. Without the shape of the model, which lists for each
        layer do not give, the cache holds one context.
        """
        family = found.get("general.architecture")

        def number(name: str) -> int | None:
            value = found.get(f"{family}.{name}")
            return value if type(value) is int and value > 0 else None

        own = number("context_length")
        length = spec.context_length or own
        if length is None:
            raise LoadError("The GGUF gives no context length.", "Set `contextLength`.")
        if own is not None and length > own:
            raise LoadError(f"contextLength is {length}; this model supports {own}.")
        layers, heads = number("block_count"), number("attention.head_count")
        hidden = number("embedding_length")
        if layers is None or heads is None or hidden is None:
            logger.warning("%s: the size of the key/value cache is unknown", spec.model)
            return cls(_rounded(length), length)
        keys = number("attention.key_length") or hidden // heads
        values = number("attention.value_length") or keys
        bytes_each = 4 if spec.dtype is Dtype.FLOAT32 else 2
        kv_heads = number("attention.head_count_kv") or heads
        per_token = layers * kv_heads * (keys + values) * bytes_each
        most = max(BLOCK, spec.cache.kv_bytes // per_token // BLOCK * BLOCK)
        if most < length:
            logger.warning(
                "%s has a context of %d tokens but a cache of %d; raise cache.kvGib (KV_CACHE_GIB)",
                spec.model, length, most,
            )  # fmt: skip
        return cls(min(most, _rounded(length) * at_once), min(length, most))


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


def _rounded(tokens: int) -> int:
    return -(-tokens // BLOCK) * BLOCK
