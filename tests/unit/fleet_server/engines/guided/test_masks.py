"""The cost of masks is measured, and a sequence above the limit is ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fleet_server.engines.guided import masks as module
from fleet_server.engines.guided.compiler import GrammarCompiler
from fleet_server.engines.guided.masks import BURST_SECONDS, STEP_SECONDS, Masks, refusal
from fleet_server.protocols import OutputFormat


@pytest.fixture
def masks(compiler: GrammarCompiler) -> Masks:
    schema = json.dumps({"type": "string"})
    return compiler.compile(OutputFormat(schema, "p")).start()


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Processor seconds of the following calls; nothing once they are used up."""
    left: list[float] = []

    def ticks() -> Iterator[float]:
        now = 0.0
        while True:
            yield now  # a call begins
            now += left.pop(0) if left else 0.0
            yield now  # and ends

    clock = ticks()
    monkeypatch.setattr(module.time, "thread_time", lambda: next(clock))
    return left


def row() -> Any:
    return np.zeros(257, dtype=np.float32)


def test_the_average_of_a_step_is_allowed(masks: Masks, costs: list[float]) -> None:
    for _ in range(500):
        costs.append(STEP_SECONDS)
        masks.apply(row())
    costs.append(BURST_SECONDS)
    masks.apply(row())
    assert masks.error is None


def test_a_text_above_the_cost_limit_ends(masks: Masks, costs: list[float]) -> None:
    costs.append(BURST_SECONDS + 2 * STEP_SECONDS)
    masks.apply(row())
    assert masks.error is not None
    assert masks.error.code == "schema_too_expensive"
    logits = row()
    masks.apply(logits)
    assert np.flatnonzero(np.isfinite(logits)).tolist() == [256]


def test_sequences_share_what_a_step_may_cost(masks: Masks, costs: list[float]) -> None:
    for _ in range(50):
        costs.append(STEP_SECONDS)
        masks.apply(row(), 10)
    assert masks.error is not None


def test_a_token_that_the_mask_forbids_is_an_error(masks: Masks) -> None:
    masks.accept([ord("x")])
    assert masks.error is not None
    assert masks.error.code == "invalid_schema"


def test_a_text_that_is_complete_only_ends(masks: Masks) -> None:
    masks.accept([ord('"'), ord('"')])
    logits = row()
    masks.apply(logits)
    assert np.flatnonzero(np.isfinite(logits)).tolist() == [256]
    masks.accept([256])
    assert masks.error is None


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("regex parse error:\n    (\n    ^\nerror: unclosed group",
         "regex parse error: unclosed group"),
        ("NoExtensionBias", "a reference leads back to itself, or is of an unsupported kind"),
        ("Invalid type: x", "Invalid type: x"),
        ("", "no text follows it"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_reason(reason: str, shown: str) -> None:
    assert refusal(reason, "p").message == f"The schema cannot be followed: {shown}"
