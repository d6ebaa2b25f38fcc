"""The bound on the probabilities of responses."""

from __future__ import annotations

import pytest

from fleet_contract.errors import BadRequest, QueueFull
from fleet_server.budgets.score_budget import ScoreBudget
from fleet_server.generation.options import GenerationOptions
from fleet_server.generation.run import scores_of


def test_a_response_and_all_together_are_bounded() -> None:
    budget = ScoreBudget(most=10, at_once=15)
    with pytest.raises(BadRequest) as caught, budget.held(11):
        pass
    assert (caught.value.param, caught.value.code) == ("logprobs", "too_many_logprobs")
    with budget.held(10), budget.held(5):
        with pytest.raises(QueueFull), budget.held(1):
            pass
        with budget.held(0):
            pass
    with budget.held(10):
        pass


def test_they_are_those_of_all_tokens_that_may_come() -> None:
    options = GenerationOptions(100, 1.0, 1.0, n=16, logprobs=20)
    assert scores_of(options, [1000], [9]) == 16 * 100 * 21
    assert scores_of(options, [50, 1000], [9, 9]) == 16 * 150 * 21
    assert scores_of(GenerationOptions(100, 1.0, 1.0, n=16), [1000], [9]) == 0


def test_echoed_prompts_count_too() -> None:
    options = GenerationOptions(100, 1.0, 1.0, logprobs=4, prompt_logprobs=True)
    assert scores_of(options, [1000, 1000], [70, 30]) == 300 * 5
