"""Chat with transformers' `generate`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fleet_bench.reference import checkpoint
from fleet_bench.reference.protocols import Message, Unusable


class _Tokens:
    """A streamer for `generate` that queues new tokens; its first call has the prompt."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()
        self._has_prompt = False

    def put(self, value: Any) -> None:
        if self._has_prompt:
            for token in value.reshape(-1).tolist():
                self.queue.put(token)
        self._has_prompt = True

    def end(self) -> None:
        self.queue.put(None)


class TransformersChat:
    """`device` is `auto`, `cpu`, `mps` or `cuda[:N]`; `dtype` is `auto` or a torch dtype."""

    def __init__(self, path: Path, device: str, dtype: str) -> None:
        from transformers import AutoTokenizer

        place, number_format = checkpoint.place(device, dtype)
        folder, plain = checkpoint.source(path)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, **plain)
        if not self._tokenizer.chat_template:
            raise Unusable(f"{path} has no chat template")
        self._model = _model_class(folder, plain).from_pretrained(
            folder, **checkpoint.weights(path, number_format)
        )
        self._model = self._model.eval().to(place)
        end = self._model.generation_config.eos_token_id
        self._ends = set(end if isinstance(end, list) else [end, self._tokenizer.eos_token_id])

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        text = self._tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, tokenize=False
        )
        return self.encode(text)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def generate(self, prompt: Sequence[int], max_tokens: int) -> Iterator[int]:
        """See the protocol; closing the iterator ends the computation at its next token."""
        tokens, stop = _Tokens(), threading.Event()
        run = threading.Thread(target=self._run, args=(prompt, max_tokens, tokens, stop))
        run.start()
        try:
            while (token := tokens.queue.get()) is not None:
                if isinstance(token, BaseException):
                    raise token
                if token not in self._ends:
                    yield token
        finally:
            stop.set()
            run.join()

    def _run(
        self, prompt: Sequence[int], max_tokens: int, tokens: _Tokens, stop: threading.Event
    ) -> None:
        import torch
        from transformers import StoppingCriteriaList

        ids = torch.tensor([list(prompt)], device=self._model.device)
        try:
            self._model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens,
                # Overrides sampling settings of the checkpoint's generation config.
                do_sample=False, num_beams=1, repetition_penalty=1.0, temperature=None,
                top_p=None, top_k=None, streamer=tokens,
                stopping_criteria=StoppingCriteriaList(
                    [lambda ids, scores: torch.full((len(ids),), stop.is_set(), device=ids.device)]
                ),
            )  # fmt: skip
        except BaseException as error:
            tokens.queue.put(error)


def _model_class(folder: Path, plain: dict[str, Any]) -> Any:
    """The auto class of a chat model, with or without image input."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(folder, **plain)
    reads_images = hasattr(config, "vision_config")
    return AutoModelForImageTextToText if reads_images else AutoModelForCausalLM
