"""Fields of podTemplate that an InferenceModel may set."""

from __future__ import annotations

import re

import pytest

from fleet_contract.policy.pod_templates import HINT, parse_mode, refusal
from support.pod_template_cases import ALLOWED, MALFORMED, REFUSED, Json


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_template_names_its_field(case: str) -> None:
    template, named = REFUSED[case]
    found = refusal({"model": "m", "podTemplate": template})
    assert found is not None
    assert found.startswith("podTemplate")
    assert found.endswith(HINT)
    assert re.search(named, found)


@pytest.mark.parametrize("template", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_template_is_refused(template: Json) -> None:
    assert refusal({"podTemplate": template}) is not None


@pytest.mark.parametrize("template", ALLOWED.values(), ids=ALLOWED.keys())
def test_an_allowed_template(template: Json) -> None:
    assert refusal({"podTemplate": template}) is None


def test_a_model_without_a_template() -> None:
    assert refusal({"model": "m"}) is None
    assert refusal({"model": "m", "podTemplate": None}) is None


def test_modes() -> None:
    assert parse_mode("full") == "full"
    assert parse_mode("restricted") == "restricted"
    with pytest.raises(ValueError, match="restricted or full"):
        parse_mode("open")
