"""The limit of rollouts at a time."""

from __future__ import annotations

import pytest

from fleet_operator.rollout_limit import Limit
from support.operator_objects import settings_of


@pytest.mark.parametrize(
    ("text", "models", "limit"),
    [("1", 40, 1), ("3", 1, 3), (" 7 ", 40, 7), ("0", 40, 40), ("25%", 40, 10), ("25%", 3, 1),
     ("100%", 3, 3)],
)  # fmt: skip
def test_of(text: str, models: int, limit: int) -> None:
    assert Limit.parse(text).of(models) == limit


def test_zero_is_no_limit() -> None:
    assert Limit.parse("0").is_none
    assert not Limit.parse("1").is_none
    assert not Limit.parse("1%").is_none


@pytest.mark.parametrize(
    ("text", "total", "shares"),
    [("1", 1, [1]), ("4", 2, [2, 2]), ("5", 3, [2, 2, 1]), ("1", 3, [1, 1, 1]),
     ("0", 2, [40, 40]), ("25%", 2, [10, 10])],
)  # fmt: skip
def test_shards_share_a_number(text: str, total: int, shares: list[int]) -> None:
    limit = Limit.parse(text)
    assert [limit.of_shard(index, total).of(40) for index in range(total)] == shares


@pytest.mark.parametrize("text", ["", "-1", "1.5", "0%", "101%", "%", "all", "\u0663"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"percent|between"):
        Limit.parse(text)


def test_the_settings_name_the_variable() -> None:
    assert settings_of().max_rollouts == Limit(count=1)
    assert settings_of().max_rollouts_cpu.is_none
    assert settings_of(MAX_ROLLOUTS="5", SHARD="1/3").max_rollouts == Limit(count=2)
    with pytest.raises(ValueError, match="MAX_ROLLOUTS='many'"):
        settings_of(MAX_ROLLOUTS="many")
