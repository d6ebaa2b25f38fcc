"""docs/operations.md explains every reason that a status can show."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_contract import status

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
OPERATOR = ROOT / "operator" / "fleet_operator"
REASON_AT = {
    "Diagnosis": 1, "PhaseDecision": 1, "RolloutChoice": 1, "Problem": 0, "ConditionState": 2,
}  # fmt: skip
"""Where the constructors of decisions take their reason."""


SHARED = tuple(
    value
    for name, value in vars(status).items()
    if name.isupper() and isinstance(value, str) and value.isalpha()
)
"""The reasons of fleet_contract.status."""


def rows(heading: str) -> str:
    """The table rows of a section."""
    body = PAGE.split(f"# {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    return "\n".join(line for line in body.splitlines() if line.startswith("|"))


def reasons() -> Iterator[str]:
    from fleet_operator.decide.diagnosis import PHASES
    from fleet_operator.decide.server_set import TRANSIENT
    from fleet_operator.decide.traffic import canary
    from fleet_operator.pause import PAUSED

    yield from TRANSIENT
    yield from SHARED
    yield from canary.REASONS
    yield PAUSED
    yield from (reason for _, reason, _ in PHASES.values())
    for path in sorted(OPERATOR.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = REASON_AT.get(node.func.id)
                given = node.args[place] if place is not None and len(node.args) > place else None
                if isinstance(given, ast.Constant) and given.value:
                    yield str(given.value)
                elif isinstance(given, ast.Name) and hasattr(status, given.id):
                    yield str(getattr(status, given.id))


FOUND = sorted(set(reasons()))


def test_reasons_are_found() -> None:
    assert {"OutOfMemory", "WeightsFailed", "RolledBack", "NoFreeCapacity"} <= set(FOUND)


@pytest.mark.parametrize("reason", FOUND)
def test_a_reason_is_explained(reason: str) -> None:
    """With what to do, or as one that resolves itself, or as that of a strategy."""
    tables = ("When something breaks", "Reasons that resolve themselves",
              "Rollout strategies (`RolloutStrategy`)")  # fmt: skip
    assert any(f"`{reason}`" in rows(table) for table in tables)


@pytest.mark.parametrize("reason", SHARED)
def test_a_reason_of_the_contract_is_explained_with_what_to_do(reason: str) -> None:
    assert f"`{reason}`" in rows("When something breaks")


def test_the_reasons_of_the_contract_are_found() -> None:
    assert {"DuplicateModel", "InvalidSpec"} <= set(SHARED)
