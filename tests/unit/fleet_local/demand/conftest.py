"""A supervised fleet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_local.demand import scaling, supervisor
from support.demand_fleet import SIZE, Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    for module in (scaling, supervisor):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.0)

    def make(*names: str, budget: int = 2 * SIZE, **fields: dict[str, Any]) -> Machine:
        specs = [
            ModelSpec.model_validate({"model": name, **fields.get(name, {})}) for name in names
        ]
        return Machine(specs, budget, tmp_path)

    return make
