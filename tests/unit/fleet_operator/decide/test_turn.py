"""Whose turn it is."""

from __future__ import annotations

import pytest

from fleet_operator.decide.turn import waiting_message


@pytest.mark.parametrize(
    ("ahead", "shown"),
    [(("ns/a",), "those of ns/a;"), (("a", "b", "c"), "a, b, c;"),
     (("a", "b", "c", "d", "e"), "a, b, c and 2 more;")],
)  # fmt: skip
def test_the_message_names_a_few(ahead: tuple[str, ...], shown: str) -> None:
    assert shown in waiting_message(ahead)
