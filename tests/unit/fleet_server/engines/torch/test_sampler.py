"""How the next token is chosen."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch

from fleet_server.engines.sampling.reasoning_limit import ReasoningLimit
from fleet_server.engines.torch.sampler import Sampler, sample
from fleet_server.protocols import ReasoningBudget, Sampling
from support.scripted_chat import Bytes

LOGITS = [2.0, 1.0, 0.0, -1.0, -2.0, -math.inf]


def sampler(seed: int | None = None, **fields: Any) -> Sampler:
    shared = torch.Generator()
    shared.manual_seed(1)
    settings = {"temperature": 1.0} | fields
    return Sampler(Sampling(10, seed=seed, **settings), shared)


def draws(number: int, **fields: Any) -> Counter[int | None]:
    """Tokens of `number` rows that share a generator, drawn in one call."""
    shared = torch.Generator()
    shared.manual_seed(5)
    one = Sampler(Sampling(10, **({"temperature": 1.0} | fields)), shared)
    return Counter(sample(torch.tensor([LOGITS] * number), [one] * number))


def test_greedy() -> None:
    assert draws(5, temperature=0) == {0: 5}
    assert draws(5, temperature=1e-7) == {0: 5}


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [1.0, 0.999999])
def test_frequencies_are_the_probabilities(temperature: float, top_p: float) -> None:
    """Chi-squared over 20,000 seeded draws, 4 degrees of freedom: 18.5 is the 0.1% point."""
    number = 20_000
    found = draws(number, temperature=temperature, top_p=top_p)
    expected = torch.softmax(torch.tensor(LOGITS[:5]) / temperature, 0) * number
    assert set(found) <= set(range(5))
    assert sum((found[i] - float(e)) ** 2 / float(e) for i, e in enumerate(expected)) < 18.5


FEWEST = [(0.01, 1), (0.6, 1), (0.64, 2), (0.87, 2), (0.88, 3), (0.96, 4)]


@pytest.mark.parametrize(("top_p", "allowed"), FEWEST)
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p: float, allowed: int) -> None:
    """Cumulative probabilities: 0.636, 0.870, 0.957, 0.988, 1."""
    assert set(draws(600, top_p=top_p)) == set(range(allowed))


def test_a_seed_is_reproducible_in_any_batch() -> None:
    random = torch.Generator().manual_seed(3)
    logits = [torch.randn(50, generator=random) for _ in range(20)]

    def sequence(seed: int, company: int, top_p: float) -> list[int | None]:
        mine = sampler(seed=seed, top_p=top_p)
        others = [sampler(seed=90 + n, top_p=(0.5, 1.0)[n % 2]) for n in range(company)]
        rows = [torch.stack([row, *[torch.randn(50) for _ in others]]) for row in logits]
        return [sample(row, [mine, *others])[0] for row in rows]

    for top_p in (1.0, 0.8):
        assert sequence(7, 0, top_p) == sequence(7, 3, top_p) == sequence(7, 6, top_p)
        assert sequence(7, 0, top_p) != sequence(8, 0, top_p)


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
def test_every_seed_of_openais_range_is_accepted(seed: int) -> None:
    assert sample(torch.tensor([LOGITS]), [sampler(seed=seed)])[0] in range(5)


def test_without_a_seed_results_differ() -> None:
    shared = torch.Generator()
    shared.seed()
    flat = torch.zeros(1, 100_000)
    sampling = Sampling(1, temperature=1.0)
    tokens = [sample(flat, [Sampler(sampling, shared)])[0] for _ in range(4)]
    assert len(set(tokens)) > 1


def test_penalties() -> None:
    one = sampler(temperature=0, presence_penalty=0.6, frequency_penalty=0.3)
    logits = torch.tensor([[1.0, 0.5, 0.0]])
    assert sample(logits, [one]) == [0]
    one.saw(0)  # 1.0 - 0.6 - 0.3 = 0.1 < 0.5
    assert sample(logits, [one]) == [1]
    one.saw(1)  # 0.5 - 0.9 = -0.4
    assert sample(logits, [one]) == [0]
    one.saw(0)  # 1.0 - 0.6 - 0.6 = -0.2 < 0.0
    assert sample(logits, [one]) == [2]
    assert logits.tolist() == [[1.0, 0.5, 0.0]]


def test_penalties_are_those_of_each_sequence() -> None:
    one, other = (sampler(temperature=0, presence_penalty=2) for _ in range(2))
    one.saw(0)
    assert sample(torch.tensor([[1.0, 0.5], [1.0, 0.5]]), [one, other]) == [1, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_fail_their_row_only(bad: float) -> None:
    logits = torch.tensor([[1.0, bad], [1.0, 2.0]])
    for temperature in (0.0, 1.0):
        one, other = sampler(temperature=temperature), sampler(temperature=0)
        assert sample(logits, [one, other]) == [None, 1]


def test_a_bound_on_the_reasoning_forces_its_mark() -> None:
    """Of the sequence that has one only."""
    limit = ReasoningLimit(ReasoningBudget(1, "<t>", "</t>", is_open=True), Bytes())
    one = Sampler(Sampling(10, logit_bias={120: 50.0}), torch.Generator(), (), limit)
    other, text = sampler(temperature=0, logit_bias={121: 50.0}), list[int | None]()
    for _ in range(6):
        token, others = sample(torch.zeros(2, Bytes.size), [one, other])
        assert others == 121
        text.append(token)
        one.saw(token or 0)
    assert text == list(b"x</t>x")


def test_half_precision_logits() -> None:
    logits = torch.tensor([LOGITS[:5]], dtype=torch.bfloat16)
    assert sample(logits, [sampler(temperature=0)]) == [0]


def test_top_k_and_min_p() -> None:
    """Probabilities 0.636, 0.234, 0.086, 0.032, 0.012; the greatest times 0.1 is 0.064."""
    assert set(draws(600, top_k=2)) == {0, 1}
    assert set(draws(600, min_p=0.1)) == {0, 1, 2}
    assert set(draws(600, min_p=0.1, top_k=4, top_p=0.8)) == {0, 1}
    assert set(draws(9, min_p=1)) == {0}


def test_bias_and_repetition_penalty() -> None:
    logits = torch.tensor([[1.0, 0.5, -0.5]])
    biased = sampler(temperature=0, logit_bias={2: 5.0, 0: -100.0})
    assert sample(logits, [biased]) == [2]
    repeated = Sampler(
        Sampling(10, temperature=0, repetition_penalty=4.0), torch.Generator(), prompt=[0]
    )
    assert sample(logits, [repeated]) == [1]  # 1.0 / 4 < 0.5
    repeated.saw(1)  # 0.5 / 4 < 1.0 / 4
    assert sample(logits, [repeated]) == [0]


def test_logarithmic_probabilities_are_those_of_the_model() -> None:
    logits = torch.tensor([[1.0, 0.5, -0.5], [0.0, 0.0, 9.0]])
    expected = torch.log_softmax(logits[0], -1).tolist()
    one, other = sampler(temperature=0, logprobs=2, logit_bias={0: -100.0}), sampler()
    assert sample(logits, [one, other])[0] == 1
    [found] = one.taken()
    assert (found.token_id, found.logprob) == (1, pytest.approx(expected[1]))
    assert [token for token, _ in found.top] == [0, 1]
    assert [value for _, value in found.top] == pytest.approx(expected[:2])
    assert one.taken() == other.taken() == ()


def test_options_that_cannot_be_applied_fail_one_sequence() -> None:
    bad, good = sampler(logit_bias={6: 1.0}), sampler(temperature=0)
    tokens = sample(torch.tensor([LOGITS] * 2), [bad, good])
    assert isinstance(bad.error, IndexError)
    assert tokens[1] == 0
    assert good.error is None
