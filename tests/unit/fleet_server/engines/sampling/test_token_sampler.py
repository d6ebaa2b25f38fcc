"""How tokens are chosen from logits with NumPy."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fleet_contract.errors import BadRequest
from fleet_server.engines.sampling.probabilities import largest, logprobs_of
from fleet_server.engines.sampling.token_sampler import TokenSampler
from fleet_server.protocols import Sampling

LOGITS = [2.0, 1.0, 0.0, -1.0, -2.0, -math.inf]


def row(values: list[float] = LOGITS) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def sampler(prompt: tuple[int, ...] = (), masks: Any = None, **fields: Any) -> TokenSampler:
    return TokenSampler(Sampling(10, **({"temperature": 0.0} | fields)), prompt, masks)


def chosen(one: TokenSampler, logits: NDArray[np.float32]) -> int:
    """The token, which is the only one that is left."""
    one.apply(logits)
    [token] = np.flatnonzero(np.isfinite(logits))
    return int(token)


def draws(number: int, **fields: Any) -> Counter[int]:
    one = sampler(**({"temperature": 1.0, "seed": 5} | fields))
    return Counter(chosen(one, row()) for _ in range(number))


@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_frequencies_are_the_probabilities(temperature: float) -> None:
    """Chi-squared over 20,000 seeded draws, 4 degrees of freedom: 18.5 is the 0.1% point."""
    number = 20_000
    found = draws(number, temperature=temperature)
    weights = np.exp(np.array(LOGITS[:5]) / temperature)
    expected = weights / weights.sum() * number
    assert set(found) <= set(range(5))
    assert sum((found[i] - e) ** 2 / e for i, e in enumerate(expected)) < 18.5


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"top_p": 0.01}, 1), ({"top_p": 0.64}, 2), ({"top_p": 0.88}, 3), ({"top_k": 2}, 2),
        ({"min_p": 0.1}, 3), ({"min_p": 1.0}, 1), ({"top_k": 4, "top_p": 0.8, "min_p": 0.01}, 2),
        ({"top_p": 0.9999}, 5),
    ],
)  # fmt: skip
def test_what_is_kept(fields: dict[str, Any], allowed: int) -> None:
    """Cumulative probabilities: 0.636, 0.870, 0.957, 0.988, 1."""
    assert set(draws(900, **fields)) == set(range(allowed))


def test_top_p_beyond_the_head() -> None:
    """Of 2,000 equal tokens nearly all are needed, and none is preferred."""
    one = sampler(temperature=1.0, top_p=0.999, seed=1)
    found = {chosen(one, np.zeros(2000, dtype=np.float32)) for _ in range(50)}
    assert len(found) > 40


def test_a_seed_depends_on_nothing_else() -> None:
    def tokens(seed: int | None, noise: float = 0.0) -> list[int]:
        one = sampler(temperature=1.0, seed=seed)
        logits = np.random.default_rng(1).normal(size=(40, 500)).astype(np.float32)
        return [chosen(one, each + np.float32(noise) * each) for each in logits]

    assert tokens(7) == tokens(7) == tokens(7, noise=1e-6)
    assert tokens(7) != tokens(8)
    assert tokens(2**64 - 1) != tokens(None)


def test_penalties_and_bias() -> None:
    one = sampler(presence_penalty=0.6, frequency_penalty=0.3)
    expected = [0, 1, 0, 2]  # 1.0, then 0.1, then 0.5 - 0.9 and 0.1, then -0.2
    assert [chosen(one, row([1.0, 0.5, 0.0])) for _ in expected] == expected
    assert chosen(sampler(logit_bias={2: 5.0}), row([1.0, 0.5, 0.0])) == 2
    repeated = sampler(prompt=(0,), repetition_penalty=4.0)
    assert chosen(repeated, row([1.0, 0.5, -0.5])) == 1  # 1.0 / 4 < 0.5
    assert chosen(repeated, row([1.0, 0.5, -0.5])) == 0  # 0.5 / 4 < 1.0 / 4
    assert chosen(sampler(prompt=(0,), repetition_penalty=4.0), row([-0.5, -1.0])) == 1


def test_probabilities_are_those_of_the_model() -> None:
    one = sampler(logprobs=2, logit_bias={0: -100.0})
    assert chosen(one, row()) == 1
    [found] = one.taken(5)
    total = math.log(sum(math.exp(value) for value in LOGITS))
    assert (found.token_id, found.logprob) == (1, pytest.approx(1.0 - total))
    assert found.top == ((0, pytest.approx(2.0 - total)), (1, pytest.approx(1.0 - total)))
    assert one.taken(1) == ()
    assert logprobs_of(row(), 2, 0).top == ()


def test_equal_tokens_are_in_the_order_of_their_ids() -> None:
    assert largest(row([1.0, 3.0, 3.0, 3.0, 0.0]), 2).tolist() == [1, 2]
    assert largest(row([1.0, 2.0]), 9).tolist() == [1, 0]


class Masks:
    def __init__(self) -> None:
        self.error: Any = None
        self.accepted: list[int] = []

    def apply(self, logits: NDArray[np.float32], sequences: int = 1) -> None:
        logits[:3] = -np.inf

    def accept(self, token_ids: list[int]) -> None:
        self.accepted += token_ids


def test_masks_win_over_a_bias() -> None:
    masks = Masks()
    one = sampler(masks=masks, logit_bias={0: 100.0}, logprobs=1)
    assert chosen(one, row()) == 3
    one.accept([3])
    assert masks.accepted == [3]
    assert one.taken(1)[0].top[0][0] == 0
    assert one.error is None
    masks.error = BadRequest("too expensive")
    assert one.error is masks.error
    one.error = broken = RuntimeError()
    assert one.error is broken
