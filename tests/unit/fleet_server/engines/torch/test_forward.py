"""Passes of models with either name for the parameter of the key/value cache."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fleet_server.engines.torch.conversation import ChatInput
from fleet_server.engines.torch.forward import CACHE_NAMES, ForwardPass
from fleet_server.engines.torch.sampler import Sampler
from fleet_server.engines.torch.sequence import Sequence
from fleet_server.load_error import LoadError
from fleet_server.protocols import Sampling

IDS = [1, 5, 9, 3, 7]
INSTALLED = next(
    name for name in CACHE_NAMES if name in inspect.signature(LlamaForCausalLM.forward).parameters
)


class Renamed(LlamaForCausalLM):  # type: ignore[misc]
    """Without a cache: its subclasses have a parameter for it."""

    def forward(self, input_ids: Any = None, position_ids: Any = None, **given: Any) -> Any:
        return super().forward(input_ids=input_ids, position_ids=position_ids, **given)


class NewName(Renamed):
    def forward(self, cache: Any = None, position_ids: Any = None, **given: Any) -> Any:
        return super().forward(position_ids=position_ids, **given, **{INSTALLED: cache})


class OldName(Renamed):
    def forward(self, past_key_values: Any = None, position_ids: Any = None, **given: Any) -> Any:
        return super().forward(position_ids=position_ids, **given, **{INSTALLED: past_key_values})


def tiny(kind: type[LlamaForCausalLM]) -> LlamaForCausalLM:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1,
    )  # fmt: skip
    return kind(config).eval().requires_grad_(False)


@pytest.mark.parametrize("kind", [NewName, OldName])
def test_a_prompt_in_parts_has_the_logits_of_the_whole(kind: type[LlamaForCausalLM]) -> None:
    model = tiny(kind)
    forward = ForwardPass(model)
    assert forward.can_batch
    sampling = Sampling(4, temperature=0)
    sampler = Sampler(sampling, torch.Generator())
    row = Sequence(ChatInput(IDS), sampling, sampler, lambda step: None, "")
    forward.probe()
    with torch.inference_mode():
        forward.prefill(row, 3)
        found = forward.prefill(row, 2)
        wanted = tiny(LlamaForCausalLM)(torch.tensor([IDS])).logits[:, -1]
    assert row.filled == len(IDS)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_model_without_a_cache_is_refused() -> None:
    with pytest.raises(LoadError, match="Renamed does not use a key/value cache"):
        ForwardPass(tiny(Renamed))
