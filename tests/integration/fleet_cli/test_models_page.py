"""The page of models as the command prints it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def test_the_page_is_fresh(modelfleet: Any) -> None:
    """Else: .venv/bin/modelfleet catalog --markdown > docs/models.md"""
    assert modelfleet("catalog", "--markdown").stdout == (ROOT / "docs/models.md").read_text()
