"""Pooling and dense layers as in sentence-transformers: from token vectors to a text's vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn import functional

from fleet_contract.spec import Pooling
from fleet_server.engines.encoder_files.recipe import Dense
from fleet_server.load_error import LoadError


class PoolingHead:
    """Computes in float32, whatever the model's dtype."""

    def __init__(self, pooling: Pooling, layers: Sequence[Dense], device: torch.device) -> None:
        self._pooling = pooling
        self._layers = [(layer, *_weights(layer, device)) for layer in layers]

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """`[batch, size]` from the model's output and the mask `[batch, length]`."""
        vectors = pool(output.last_hidden_state.float(), mask, self._pooling)
        for layer, weight, bias in self._layers:
            vectors = functional.linear(vectors, weight, bias)
            vectors = vectors.tanh() if layer.tanh else vectors
        return vectors


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """`[batch, hidden]` of `[batch, length, hidden]`; `mask` is 1 on real tokens, which come
    first."""
    if pooling is Pooling.CLS:
        return hidden[:, 0]
    if pooling is Pooling.LAST:
        rows = torch.arange(hidden.shape[0], device=hidden.device)
        return hidden[rows, mask.sum(dim=1) - 1]
    real = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * real).sum(dim=1) / real.sum(dim=1)


def _weights(layer: Dense, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    path = layer.folder / "model.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, ValueError, RuntimeError) as error:
        raise LoadError(f"{path} cannot be read: {error}.", "Fetch the model again.") from error
    weight, bias = tensors.get("linear.weight"), tensors.get("linear.bias")
    if weight is None or weight.shape != (layer.out_size, layer.in_size):
        raise LoadError(f"{path} does not contain the layer that its config.json describes.")
    if layer.bias and bias is None:
        raise LoadError(f"{path} lacks the bias that its config.json describes.")
    return (
        weight.float().to(device),
        bias.float().to(device) if layer.bias and bias is not None else None,
    )
