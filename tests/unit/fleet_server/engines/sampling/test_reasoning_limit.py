"""Which tokens end the reasoning of a text that has reached its bound. Each token is a byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fleet_server.engines.sampling.reasoning_limit import LimitedMasks, ReasoningLimit
from fleet_server.engines.sampling.token_sampler import TokenSampler
from fleet_server.protocols import ReasoningBudget, Sampling
from support.scripted_chat import Bytes


def limit(tokens: int, *, is_open: bool = False, close: str = "</t>") -> ReasoningLimit:
    return ReasoningLimit(ReasoningBudget(tokens, "<t>", close, is_open), Bytes())


def written(one: Any, wanted: str, most: int = 60) -> str:
    """The text of a model that writes `wanted`, and goes on where it was interrupted."""
    left, text = list(wanted.encode()), list[int]()
    while left and len(text) < most:
        forced = one.forced
        token = left.pop(0) if forced is None else forced
        one.accept([token])
        text.append(token)
    return bytes(text).decode()


@pytest.mark.parametrize(
    ("tokens", "is_open", "wanted", "text"),
    [
        (3, True, "abcdefg", "abc</t>defg"),
        (0, True, "abc", "</t>abc"),
        (3, False, "<t>abcdef", "<t>abc</t>def"),
        (0, False, " \n<t>abc", " \n<t></t>abc"),
        (9, True, "ab</t>cdefghijk", "ab</t>cdefghijk"),
        (3, False, "abcdefg", "abcdefg"),
        (3, False, "<t<t>abcdefg", "<t<t>abcdefg"),
        # The mark that the model has begun is not finished by it.
        (3, True, "a</t>b", "a</</t>t>b"),
        # A further block is part of the answer.
        (5, False, "<t>a</t><t>bcdefghi", "<t>a</t><t>bcdefghi"),
        # A character of several tokens is finished.
        (2, True, "aé€b", "aé</t>€b"),
        (3, True, "aé€b", "aé</t>€b"),
        (4, True, "aé€b", "aé€</t>b"),
    ],
)
def test_the_mark_follows_the_last_token(
    tokens: int, is_open: bool, wanted: str, text: str
) -> None:
    assert written(limit(tokens, is_open=is_open), wanted) == text


@pytest.mark.parametrize(
    ("tokens", "wanted", "text"),
    [
        (3, "<t>abcdef", "<t>abc</t>!def"),
        (12, "<t>ab</t>x<t>cd</t>y", "<t>ab</t>x<t>cd</t>y"),
        # The marks of a block that ends by itself are of its tokens: each is four bytes here.
        (8, "<t>ab</t>x<t>cdef", "<t>ab</t>x<t>cd</t>!ef"),
        (2, "x<t>abcd<t>ef<t>g", "x<t>ab</t>!cd<t></t>?ef<t></t>?g"),
        (0, "x</t>y", "x</t>y"),
    ],
)
def test_several_blocks_share_the_tokens(tokens: int, wanted: str, text: str) -> None:
    budget = ReasoningBudget(tokens, "<t>", "</t>", blocks=("</t>!", "</t>?"))
    assert written(ReasoningLimit(budget, Bytes()), wanted) == text


def test_a_character_that_never_ends_does_not_lift_the_bound() -> None:
    one = limit(0, is_open=True)
    assert one.forced == ord("<")
    broken = limit(1, is_open=True)
    broken.accept([0xF0])
    for _ in range(3):
        if broken.forced is not None:
            break
        broken.accept([0xF0])
    assert broken.forced == ord("<")


class Letters:
    """Masks that allow a single token, as of a grammar."""

    def __init__(self) -> None:
        self.error: Any = None
        self.accepted: list[int] = []

    def apply(self, logits: Any, sequences: int = 1) -> None:
        kept = logits[ord("x")]
        logits[:] = -np.inf
        logits[ord("x")] = kept

    def accept(self, token_ids: Any) -> None:
        self.accepted += token_ids


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("masks", [None, Letters()])
def test_a_sampler_draws_the_mark(temperature: float, masks: Any) -> None:
    """With its own logarithmic probability, whatever the bias and the grammar allow."""
    options = Sampling(20, temperature=temperature, seed=1, logprobs=1, logit_bias={ord("x"): 90})
    sampler = TokenSampler(options, (), LimitedMasks(limit(2, is_open=True), masks))
    text = list[int]()
    for _ in range(8):
        logits = np.zeros(Bytes.size, dtype=np.float32)
        sampler.apply(logits)
        token = int(logits.argmax())
        text.append(token)
        sampler.accept([token])
        (found,) = sampler.taken(1)
        assert found.token_id == token
        assert found.logprob == pytest.approx(-np.log(Bytes.size), abs=1e-4)
    assert bytes(text) == b"xx</t>xx"
    if masks is not None:
        assert bytes(masks.accepted) == b"xx</t>xx"
        masks.accepted.clear()


def test_the_errors_of_a_grammar_are_those_of_the_masks() -> None:
    letters = Letters()
    masks = LimitedMasks(limit(0, is_open=True), letters)
    assert masks.error is None
    letters.error = failed = ValueError()
    assert masks.error is failed
    logits = np.zeros(Bytes.size, dtype=np.float32)
    masks.apply(logits)
    assert np.isfinite(logits[ord("x")])
    masks.error = other = RuntimeError()
    assert masks.error is other
