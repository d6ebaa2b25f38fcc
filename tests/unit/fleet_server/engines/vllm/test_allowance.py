"""What the masks of a sequence may cost."""

from __future__ import annotations

import pytest

from fleet_server.engines.guided.masks import BURST_SECONDS, STEP_SECONDS
from fleet_server.engines.vllm.allowance import MOST_SHARES, Allowance, share_step

STEPS = 1000


def exceeded(cost: float, sequences: int) -> list[int]:
    """After how many of STEPS each of the sequences has exceeded its allowance; they go on."""
    allowances = [Allowance() for _ in range(sequences)]
    found = [STEPS] * sequences
    for step in range(STEPS):
        for each in allowances:
            each.spend(cost)
        share_step(allowances)
        for number, each in enumerate(allowances):
            if each.exceeded:
                found[number] = min(found[number], step)
    return found


def test_one_sequence_has_the_allowance_of_a_step() -> None:
    assert exceeded(0.0009, 1) == [STEPS]
    assert exceeded(STEP_SECONDS * 0.99, 1) == [STEPS]
    assert exceeded(STEP_SECONDS * 1.2, 1)[0] < STEPS


def test_sequences_share_the_allowance_of_a_step() -> None:
    """Each mask alone costs less than a step may: 8 of 0.9 ms are 7 ms for everybody."""
    share = STEP_SECONDS / 8
    steps = exceeded(0.0009, 8)
    assert max(steps) <= BURST_SECONDS / (0.0009 - share) + 1
    assert exceeded(share * 0.99, 8) == [STEPS] * 8


@pytest.mark.parametrize("sequences", [MOST_SHARES, 32, 128, 256])
def test_masks_of_usual_schemas_are_never_too_expensive(sequences: int) -> None:
    """Not on a processor of half the speed either: a token takes 0.03 to 0.15 ms."""
    assert exceeded(0.00028, sequences) == [STEPS] * sequences
    assert max(exceeded(0.0009, sequences)) < 100


def test_the_first_masks_may_cost_more() -> None:
    one = Allowance()
    one.spend(BURST_SECONDS)
    assert not one.exceeded
    one.spend(1e-6)
    assert one.exceeded
    one.grow(1)
    assert not one.exceeded
