"""Generations of an engine of token ids, and those of transformers to compare them with."""

from __future__ import annotations

import queue
from typing import Any

from fleet_server.protocols import Prompt, Sampling, Step, TextModel


class Running:
    """Collects the steps of a generation, after token ids or a prompt of the model."""

    def __init__(self, model: TextModel, given: list[int] | Prompt, sampling: Sampling) -> None:
        self.steps: queue.Queue[Step] = queue.Queue()
        before = given if isinstance(given, Prompt) else model.prompt_of(given)
        self.generation = model.submit(before, sampling, self.steps.put)

    def wait(self) -> tuple[list[int], list[Step]]:
        """The tokens, and all steps."""
        ids: list[int] = []
        steps: list[Step] = []
        while True:
            steps.append(self.steps.get(timeout=180))
            ids += steps[-1].token_ids
            if steps[-1].finish is not None or steps[-1].error is not None:
                return ids, steps


def prompt(model: TextModel, text: str) -> list[int]:
    """The tokens of a message."""
    found = model.prompt([{"role": "user", "content": text}], []).token_ids
    assert found is not None
    return list(found)


def greedy(reference: Any, ids: list[int], number: int) -> list[int]:
    """The tokens of transformers' model, without the one that ends them."""
    import torch

    with torch.inference_mode():
        found = reference.generate(torch.tensor([ids]), max_new_tokens=number, do_sample=False)
    new: list[int] = found[0, len(ids) :].tolist()
    ends = reference.generation_config.eos_token_id
    return new[:-1] if new[-1] in (ends if isinstance(ends, list) else [ends]) else new
