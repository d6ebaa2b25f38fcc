"""Parts of pods in a spec."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fleet_contract.spec import ModelSpec


def nested(levels: int) -> dict[str, Any]:
    """That many levels, every second of them a list."""
    made: Any = {}
    for number in range(levels - 1):
        made = [made] if number % 2 == 0 else {"a": made}
    return made if isinstance(made, dict) else {"a": made[0]}


@pytest.mark.parametrize("field", ["podTemplate", "affinity", "tolerations"])
def test_parts_of_pods_have_a_bounded_depth(field: str) -> None:
    for levels, accepted in ((31, True), (32, True), (33, False), (9001, False)):
        part = nested(levels)
        spec = {"model": "m", field: [part] if field == "tolerations" else part}
        if accepted:
            ModelSpec.model_validate(spec)
            continue
        with pytest.raises(ValidationError, match="nested more than 32 levels deep"):
            ModelSpec.model_validate(spec)
