"""Warms up a model before it is ready, so that the first request is not slower than others."""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fleet_contract.spec import ModelSpec, Task
from fleet_server.admission import passes_at_once
from fleet_server.protocols import ChatModel, EmbeddingModel, Prompt, RerankModel, Sampling, Step
from fleet_web.logs import event

logger = logging.getLogger(__name__)

WORDS = "A model that has run once answers its first client faster."


def warm(spec: ModelSpec, model: Any) -> None:
    """Run the passes configured in `spec.warmup`. Raises what the model raises."""
    if not spec.warmup.enabled:
        return
    started = time.monotonic()
    for _ in range(spec.warmup.steps):
        if spec.task is Task.CHAT:
            _chat(model, spec.warmup.batch_size)
        elif spec.task is Task.EMBEDDING:
            _embedding(model, spec.warmup.batch_size, passes_at_once(spec, model))
        elif spec.task is Task.RERANK:
            _rerank(model, spec.warmup.batch_size, passes_at_once(spec, model))
        else:
            importlib.import_module("fleet_server.audio.warmup").warm(model)
    event(
        logger, "warmup_ok", model=spec.model, steps=spec.warmup.steps,
        batch_size=spec.warmup.batch_size, seconds=round(time.monotonic() - started, 3),
    )  # fmt: skip


def chat_text(model: ChatModel, content: str, max_tokens: int) -> str:
    """The greedy reply to one user message."""
    prompt = model.prompt([{"role": "user", "content": content}], [])
    return reply_text(model, prompt, max_tokens)


def reply_text(
    model: ChatModel,
    prompt: Prompt,
    max_tokens: int,
    *,
    grammar: Any = None,
    decode: Callable[[Sequence[int]], str] | None = None,
) -> str:
    """The greedy text after a prompt; `decode` replaces the model's."""
    [reply] = _generate(model, [prompt], max_tokens, grammar)
    return reply.text or (decode or model.decode)(reply.token_ids)


def _chat(model: ChatModel, batch_size: int) -> None:
    prompt = model.prompt([{"role": "user", "content": WORDS}], [])
    _generate(model, [prompt] * min(batch_size, model.max_concurrent), max_tokens=4)


def _embedding(model: EmbeddingModel, batch_size: int, at_once: int) -> None:
    batch = [
        ids if len(ids) <= model.max_tokens else model.truncate(ids)
        for ids in model.tokenize([WORDS] * batch_size)
    ]
    _together(lambda: model.embed(batch), at_once)


def _rerank(model: RerankModel, batch_size: int, at_once: int) -> None:
    batch = [
        ids if len(ids) <= model.max_tokens else model.truncate_pair(ids)
        for ids in model.tokenize_pairs(WORDS, [WORDS] * batch_size)
    ]
    _together(lambda: model.score(batch), at_once)


def _together(run: Callable[[], Any], at_once: int) -> None:
    """Run `at_once` passes at the same time: kernels and buffers belong to a thread."""
    if at_once == 1:
        run()
        return
    with ThreadPoolExecutor(at_once, thread_name_prefix="warm") as pool:
        for future in [pool.submit(run) for _ in range(at_once)]:
            future.result()


def _generate(
    model: ChatModel, prompts: list[Prompt], max_tokens: int, grammar: Any = None
) -> list[_Reply]:
    collectors = [_Collector() for _ in prompts]
    sampling = Sampling(max_tokens=max_tokens, temperature=0, grammar=grammar)
    for prompt, collector in zip(prompts, collectors, strict=True):
        model.submit(prompt, sampling, collector)
    return [collector.wait() for collector in collectors]


@dataclass
class _Reply:
    """Token ids or, from an engine with `emits_text`, text."""

    token_ids: list[int] = field(default_factory=list)
    text: str = ""


class _Collector:
    """Collects the tokens of one generation; called from the engine's thread."""

    def __init__(self) -> None:
        self._reply = _Reply()
        self._error: Exception | None = None
        self._done = threading.Event()

    def __call__(self, step: Step) -> None:
        self._reply.token_ids.extend(step.token_ids)
        if step.delta is not None:
            self._reply.text += step.delta.text
        self._error = step.error
        if step.finish is not None or step.error is not None:
            self._done.set()

    def wait(self) -> _Reply:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._reply
