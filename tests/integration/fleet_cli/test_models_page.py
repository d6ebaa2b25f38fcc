"""The generated page of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def test_the_page_is_fresh(modelfleet: Any) -> None:
    """To regenerate it: .venv/bin/modelfleet catalog --markdown > docs/models.md"""
    assert modelfleet("catalog", "--markdown").stdout == (ROOT / "docs/models.md").read_text()
