"""Runs an encoder over padded batches."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fleet_contract.errors import NotReady, TooLarge
from fleet_contract.spec import ModelSpec
from fleet_server.engines.encoder_files import limits, recipe
from fleet_server.engines.encoder_files.extra_inputs import Fill
from fleet_server.engines.encoder_files.positions import position_rows
from fleet_server.engines.encoder_files.recipe import Recipe
from fleet_server.engines.encoder_files.tokenizer import TextTokenizer
from fleet_server.engines.torch.checkpoint import ModelFolder
from fleet_server.engines.torch.runtime import Runtime, is_out_of_memory
from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32

Head = Callable[[Any, torch.Tensor], torch.Tensor]
"""Maps the model's output and the mask `[batch, length]` to `[batch, size]`."""


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """The contents of a model folder except the weights."""

    recipe: Recipe
    checkpoint: ModelFolder
    tokenizer: TextTokenizer
    max_tokens: int

    @classmethod
    def read(cls, spec: ModelSpec, folder: Path, threads: int) -> EncoderFiles:
        """Raises LoadError for missing or unsupported files."""
        how = recipe.read(folder)
        checkpoint = ModelFolder.find(how.transformer)
        homes = [home for home in (how.transformer, folder) if (home / "tokenizer.json").is_file()]
        if not homes:
            raise LoadError(f"{folder.name} has no tokenizer.json.", "Fetch the model again.")
        tokenizer = TextTokenizer(homes[0] / "tokenizer.json", threads)
        rows = position_rows(checkpoint.config)
        longest = limits.max_tokens(spec.context_length, rows, how.max_tokens, homes[0])
        return cls(how, checkpoint, tokenizer, longest)


class Encoder:
    """A model with its head. At most `passes` calls run at the same time: on a GPU one launches
    its kernels while those of another run."""

    def __init__(
        self, model: Any, runtime: Runtime, head: Head, types: Fill, passes: int = 1
    ) -> None:
        self._model = model
        self._runtime = runtime
        self._head = head
        self._types = types
        self._pad_id = model.config.pad_token_id or 0
        self._wants_types = (
            "token_type_ids" in inspect.signature(model.forward).parameters
            and getattr(model.config, "type_vocab_size", 0) > 1
        )
        self.passes = passes
        self._free = threading.Semaphore(passes)

    def run(self, batch: Sequence[Sequence[int]]) -> Float32:
        """Float32 `[len(batch), size]`.

        Raises TooLarge if the memory does not suffice, RuntimeError if a value is not finite.
        """
        ids, mask = _pad(batch, self._pad_id)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self._wants_types:
            inputs["token_type_ids"] = self._types(ids, mask)
        device = self._runtime.device
        given = {name: torch.from_numpy(made).long().to(device) for name, made in inputs.items()}
        with self._free, torch.inference_mode():
            model = self._model
            if model is None:
                raise NotReady("The engine is stopping; please try again.", retry_after=1)
            try:
                output = self._head(model(**given), given["attention_mask"])
                result: Float32 = output.float().cpu().numpy()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._runtime.free_memory()
                raise TooLarge("These inputs do not fit into the free memory.") from error
        if not np.isfinite(result).all():
            raise RuntimeError(f"the model's output is not finite in {self.dtype}")
        return result

    @property
    def dtype(self) -> str:
        return str(self._runtime.dtype).removeprefix("torch.")

    def close(self) -> None:
        """Wait for running passes and free the model."""
        # With all places held no pass runs; one that comes later finds no model.
        for _ in range(self.passes):
            self._free.acquire()
        self._model = None
        self._free.release(self.passes)


def _pad(batch: Sequence[Sequence[int]], pad_id: int) -> tuple[Any, Any]:
    length = max(map(len, batch))
    ids = np.full((len(batch), length), pad_id, dtype=np.int32)
    mask = np.zeros((len(batch), length), dtype=np.int32)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask
