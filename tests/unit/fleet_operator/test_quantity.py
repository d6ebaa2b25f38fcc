"""Kubernetes quantities."""

from __future__ import annotations

import pytest

from fleet_operator.quantity import add, shown, thousandths


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("500m", 500), ("2", 2000), (3, 3000), ("0.5", 500), ("1.5", 1500), ("1k", 10**6),
        ("1Ki", 1024 * 1000), ("4Gi", 4 * 1024**3 * 1000), ("1M", 10**9), ("1e3", 10**6),
        ("12E6", 12 * 10**9), ("1E", 10**21), ("100u", 1), ("1n", 1), ("0", 0),
    ],
)  # fmt: skip
def test_amounts(text: str | int, amount: int) -> None:
    assert thousandths(text) == amount


@pytest.mark.parametrize("text", ["", "x", "1Q", "Gi", "1 Gi", "--1"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        thousandths(text)


def test_sums_forget_what_is_zero() -> None:
    total: dict[str, int] = {}
    add(total, {"cpu": 500, "memory": 10})
    add(total, {"cpu": 500})
    assert total == {"cpu": 1000, "memory": 10}
    add(total, {"cpu": 1000}, -1)
    assert total == {"memory": 10}


@pytest.mark.parametrize(
    ("name", "amount", "text"),
    [
        ("cpu", 2500, "2500m cpu"),
        ("nvidia.com/gpu", 1000, "1 nvidia.com/gpu"),
        ("memory", 3 * 1024**3 * 500, "1.5 GiB memory"),
    ],
)
def test_for_people(name: str, amount: int, text: str) -> None:
    assert shown(name, amount) == text
