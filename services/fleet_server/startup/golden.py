"""Checks with known answers that a model must pass before it is called ready."""

from __future__ import annotations

from typing import Any

from fleet_contract.spec import ModelSpec, Task
from fleet_contract.spec_parts import GoldenCheck
from fleet_server.load_error import LoadError
from fleet_server.protocols import EmbeddingModel
from fleet_server.startup.warmup import chat_text

ANSWER_TOKENS = 128


def check(spec: ModelSpec, model: Any) -> None:
    """Run every check of the spec. Raises LoadError that shows the first wrong answer."""
    for golden in spec.golden:
        if spec.task is Task.CHAT and golden.prompt is not None:
            _chat(golden, model)
        elif spec.task is Task.EMBEDDING and golden.similar:
            _similar(golden, model)
        else:
            raise LoadError(
                f"A golden check does not fit task {spec.task.value}.",
                "Chat checks give `prompt` and `contains`, embedding checks `similar`.",
            )


def _chat(golden: GoldenCheck, model: Any) -> None:
    answer = chat_text(model, golden.prompt or "", ANSWER_TOKENS)
    if (golden.contains or "").lower() not in answer.lower():
        raise LoadError(
            f"Golden check failed: the answer to {golden.prompt!r} does not contain "
            f"{golden.contains!r}, it is {answer[:200]!r}."
        )


def _similar(golden: GoldenCheck, model: EmbeddingModel) -> None:
    first, second = model.embed(model.tokenize(golden.similar))
    cosine = float(first @ second)
    if cosine < golden.min_cosine:
        raise LoadError(
            f"Golden check failed: the cosine of {golden.similar[0]!r} and {golden.similar[1]!r} "
            f"is {cosine:.3f}, below {golden.min_cosine}."
        )
