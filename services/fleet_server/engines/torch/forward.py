"""Runs the model: a part of one prompt, or the next token of a batch."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import DynamicCache

from fleet_server.engines.torch.batch import Batch
from fleet_server.engines.torch.runtime import tensor
from fleet_server.engines.torch.sequence import Sequence
from fleet_server.load_error import LoadError

PLAIN_LAYERS = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
CACHE_NAMES = ("cache", "past_key_values")
"""The parameter for the key/value cache; transformers below 5.20, which vLLM needs, has the second
name."""


class ForwardPass:
    """`can_batch` is whether rows may share a pass and a prompt may be prefilled in parts: only if
    all layers cache nothing but keys and values, and the model takes positions."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.device: torch.device = model.device
        known = inspect.signature(model.forward).parameters
        cache_name = next((name for name in CACHE_NAMES if name in known), None)
        if cache_name is None:
            raise LoadError(f"{type(model).__name__} does not use a key/value cache.")
        self._cache_name = cache_name
        self._config = model.config.get_text_config(decoder=True)
        layers = set(getattr(self._config, "layer_types", None) or PLAIN_LAYERS)
        self.can_batch = layers <= PLAIN_LAYERS and "position_ids" in known
        self._common: dict[str, Any] = {"use_cache": True}
        # Of the last position only: those of a long prompt would take gigabytes.
        if "logits_to_keep" in known:
            self._common["logits_to_keep"] = 1
        self._rope_index = getattr(getattr(model, "model", None), "get_rope_index", None)

    def prefill(self, row: Sequence, number: int) -> torch.Tensor:
        """Prefill the next `number` prompt tokens; the logits `[1, vocabulary]` after them."""
        if row.cache is None:
            row.cache = self._new_cache()
        ids = tensor([row.token_ids[row.filled : row.filled + number]], self.device)
        places = torch.arange(row.filled, row.filled + number, device=self.device).unsqueeze(0)
        extra: dict[str, Any] = {"position_ids": places} if self.can_batch else {}
        offset = 0
        if row.pixels:
            extra |= {name: self._moved(value) for name, value in row.pixels.items()}
            if self._rope_index is not None:
                extra["position_ids"], offset = self._image_positions(ids, extra)
        if row.scores_prompt:
            extra[self._cache_name] = row.cache
            whole = self._model(input_ids=ids, use_cache=True, **extra).logits
            row.score(whole[0], row.filled)
            logits: torch.Tensor = whole[:, -1]
        else:
            logits = self._call(row.cache, input_ids=ids, **extra)
        row.filled += number
        row.position = row.filled + offset
        return logits

    def step(self, batch: Batch) -> torch.Tensor:
        """The logits `[rows, vocabulary]` of the next token of every row."""
        inputs = batch.inputs()
        if not self.can_batch:
            del inputs["position_ids"]
        return self._call(batch.cache, **inputs)

    def probe(self) -> None:
        """Run a pass of one token with a cache of its own, and wait for the device. Raises what the
        model or the device raises."""
        ids = tensor([[0]], self.device)
        extra = {"position_ids": ids} if self.can_batch else {}
        self._call(self._new_cache(), input_ids=ids, **extra).cpu()

    def bytes_per_token(self) -> int:
        """Bytes of the keys and values of one token."""
        config = self._config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * heads * size * self._model.dtype.itemsize)

    def _call(self, cache: Any, **inputs: Any) -> torch.Tensor:
        given = {self._cache_name: cache}
        logits: torch.Tensor = self._model(**given, **inputs, **self._common).logits[:, -1]
        return logits

    def _new_cache(self) -> DynamicCache:
        # Without the config every layer caches all tokens, sliding windows included: rows of
        # different lengths can then be merged, and the mask alone applies the window.
        return DynamicCache() if self.can_batch else DynamicCache(config=self._config)

    def _image_positions(self, ids: torch.Tensor, extra: dict[str, Any]) -> tuple[Any, int]:
        """Positions in text, height and width (M-RoPE), and the offset of the text after them."""
        names = ("mm_token_type_ids", "image_grid_thw")
        assert self._rope_index is not None  # noqa: S101  (checked by the caller)
        given = {name: extra[name] for name in names if name in extra}
        positions, delta = self._rope_index(ids, **given)
        return positions, int(delta)

    def _moved(self, value: torch.Tensor) -> torch.Tensor:
        value = value.to(self.device)
        return value.to(self._model.dtype) if value.is_floating_point() else value
