"""The cost of masks is measured, and a sequence above the limit is ended."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fleet_server.engines.guided import masks as module
from fleet_server.engines.guided.compiler import GrammarCompiler
from fleet_server.engines.guided.masks import BURST_SECONDS, STEP_SECONDS, Masks, refusal
from fleet_server.protocols import OutputFormat

STRING = OutputFormat(json.dumps({"type": "string", "maxLength": 3}), "p")


@pytest.fixture
def masks(compiler: GrammarCompiler) -> Masks:
    """Masks that are computed when they are used."""
    ahead = compiler.compile(STRING).start()
    with ahead._computing:
        return Masks(ahead._matcher, ahead._size, ahead._stop_id)


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
    masks.apply(row())
    assert masks.error is not None
    assert masks.error.code == "invalid_schema"


def test_a_text_that_is_complete_only_ends(masks: Masks) -> None:
    masks.accept([ord('"'), ord('"')])
    logits = row()
    masks.apply(logits)
    assert np.flatnonzero(np.isfinite(logits)).tolist() == [256]
    masks.accept([256])
    assert masks.error is None


def test_masks_that_are_computed_ahead_are_the_same(compiler: GrammarCompiler) -> None:
    ahead, plain = (compiler.compile(STRING).start() for _ in range(2))
    plain._ahead = None
    for letter in b'"abc"':
        found, expected = row(), row()
        ahead.apply(found)
        plain.apply(expected)
        assert np.array_equal(found, expected)
        assert np.isfinite(found[letter])
        ahead.accept([letter])
        plain.accept([letter])
    assert ahead.error is None


@pytest.mark.parametrize("ahead", [True, False])
def test_a_panic_of_the_matcher_ends_the_text(compiler: GrammarCompiler, ahead: bool) -> None:
    class Panic:
        def is_stopped(self) -> bool:
            raise BaseException("broken")

    known = compiler.compile(STRING).start()
    with known._computing:
        thread = known._ahead if ahead else None
        broken = Masks(Panic(), known._size, known._stop_id, ahead=thread)
    with broken._computing:
        assert broken.error is None  # the text may end before the mask is used
    for _ in range(2):
        logits = row()
        broken.apply(logits)
        assert np.flatnonzero(np.isfinite(logits)).tolist() == [256]
        assert broken.error is not None


class Random:
    """A matcher whose mask is random."""

    def __init__(self, size: int) -> None:
        bits = np.random.default_rng(size).integers(0, 2, (size + 31) // 32 * 32, dtype=np.uint8)
        self.allowed = np.flatnonzero(bits[:size])
        self._words = np.packbits(bits, bitorder="little")

    def unsafe_compute_mask_ptr(self, address: int, number: int) -> None:
        ctypes.memmove(address, self._words.ctypes.data, number)

    def is_error(self) -> bool:
        return False


@pytest.mark.parametrize("size", [1, 8, 31, 257])
def test_the_logits_that_a_mask_does_not_allow(size: int) -> None:
    matcher = Random(size)
    logits = np.arange(size + 3, dtype=np.float32)  # an engine may have more than the vocabulary
    Masks(matcher, size, 0).apply(logits)
    assert np.array_equal(np.flatnonzero(np.isfinite(logits)), matcher.allowed)
    assert np.array_equal(logits[matcher.allowed], matcher.allowed)


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
