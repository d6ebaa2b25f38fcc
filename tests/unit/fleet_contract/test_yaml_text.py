"""YAML with limits."""

from __future__ import annotations

import pytest
import yaml

from fleet_contract import yaml_text

DEEP = 1_000_000
"""PyYAML without a limit takes hours for as many brackets."""


@pytest.mark.parametrize("text", ["[" * DEEP, "{a: " * DEEP, "a: [" + "[{b: " * DEEP, "- " * 2_000])
def test_a_text_that_is_nested_too_deeply_is_refused_where_it_is(text: str) -> None:
    with pytest.raises(RecursionError, match="nested more than 100 levels deep"):
        yaml_text.load(text)
    with pytest.raises(ValueError, match=r"^deep\.yaml: not valid YAML: "):
        yaml_text.load_all(text, "deep.yaml")


def test_a_hundred_levels_are_not_too_deep() -> None:
    assert yaml_text.load("- " * 99 + "a") is not None
    found = yaml_text.load("[" * yaml_text.MOST_NESTED + "]" * yaml_text.MOST_NESTED)
    for _ in range(yaml_text.MOST_NESTED - 1):
        (found,) = found
    assert found == []


def test_brackets_that_are_closed_or_quoted_are_no_levels() -> None:
    found = yaml_text.load(yaml.safe_dump([[], {}, "[" * 1_000] * 1_000, default_flow_style=True))
    assert found == [[], {}, "[" * 1_000] * 1_000
