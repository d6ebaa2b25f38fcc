"""Runs a model before it is called ready, so that the first client does not pay for it."""

from __future__ import annotations

import importlib
import threading
from typing import Any

from fleet_contract.spec import ModelSpec, Task
from fleet_server.protocols import ChatModel, EmbeddingModel, Prompt, RerankModel, Sampling, Step

WORDS = "A model that has run once answers its first client faster."


def warm(spec: ModelSpec, model: Any) -> None:
    """As many passes as `spec.warmup` says. Raises what the model raises."""
    if not spec.warmup.enabled:
        return
    for _ in range(spec.warmup.steps):
        if spec.task is Task.CHAT:
            _chat(model, spec.warmup.batch_size)
        elif spec.task is Task.EMBEDDING:
            _embedding(model, spec.warmup.batch_size)
        elif spec.task is Task.RERANK:
            _rerank(model, spec.warmup.batch_size)
        else:
            importlib.import_module("fleet_server.audio.warmup").warm(model)


def chat_text(model: ChatModel, content: str, max_tokens: int) -> str:
    """The greedy answer to one user message."""
    prompt = model.prompt([{"role": "user", "content": content}], [])
    return model.decode(_generate(model, [prompt], max_tokens)[0])


def _chat(model: ChatModel, batch_size: int) -> None:
    prompt = model.prompt([{"role": "user", "content": WORDS}], [])
    _generate(model, [prompt] * min(batch_size, model.max_concurrent), max_tokens=4)


def _embedding(model: EmbeddingModel, batch_size: int) -> None:
    model.embed(model.tokenize([WORDS] * batch_size))


def _rerank(model: RerankModel, batch_size: int) -> None:
    model.score(model.tokenize_pairs(WORDS, [WORDS] * batch_size))


def _generate(model: ChatModel, prompts: list[Prompt], max_tokens: int) -> list[list[int]]:
    answers = [_Collector() for _ in prompts]
    sampling = Sampling(max_tokens=max_tokens, temperature=0)
    for prompt, answer in zip(prompts, answers, strict=True):
        model.submit(prompt, sampling, answer)
    return [answer.wait() for answer in answers]


class _Collector:
    """Gathers the steps of one answer; called from the engine's thread."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._error: Exception | None = None
        self._done = threading.Event()

    def __call__(self, step: Step) -> None:
        self._ids.extend(step.token_ids)
        self._error = step.error
        if step.finish is not None or step.error is not None:
            self._done.set()

    def wait(self) -> list[int]:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._ids
