"""Golden checks: inputs with known results that a model must pass before it is ready."""

from __future__ import annotations

from typing import Any

from fleet_contract.spec import ModelSpec, Task
from fleet_contract.spec_parts import GoldenCheck
from fleet_server.load_error import LoadError
from fleet_server.protocols import EmbeddingModel
from fleet_server.startup.warmup import chat_text

REPLY_TOKENS = 128


def check(spec: ModelSpec, model: Any) -> None:
    """Run every check of the spec. Raises LoadError that shows the first wrong result."""
    for golden in spec.golden:
        if spec.task is Task.CHAT and golden.prompt is not None:
            _chat(golden, model)
        elif spec.task is Task.EMBEDDING and golden.similar:
            _similar(golden, model)
        else:
            raise LoadError(
                f"A golden check does not apply to task {spec.task.value}.",
                "Use `prompt` and `contains` for chat, `similar` for embedding.",
            )


def _chat(golden: GoldenCheck, model: Any) -> None:
    reply = chat_text(model, golden.prompt or "", REPLY_TOKENS)
    if (golden.contains or "").lower() not in reply.lower():
        raise LoadError(
            f"Golden check failed: the reply to {golden.prompt!r} does not contain "
            f"{golden.contains!r}; it is {reply[:200]!r}."
        )


def _similar(golden: GoldenCheck, model: EmbeddingModel) -> None:
    first, second = model.embed(model.tokenize(golden.similar))
    cosine = float(first @ second)
    if cosine < golden.min_cosine:
        raise LoadError(
            f"Golden check failed: the cosine of {golden.similar[0]!r} and {golden.similar[1]!r} "
            f"is {cosine:.3f}, below {golden.min_cosine}."
        )
