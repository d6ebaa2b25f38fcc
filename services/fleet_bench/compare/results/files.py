"""The report files: compare.md, compare.json, compare.png and compare.svg."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleet_bench.compare.results.outcome import ModelComparison
from fleet_bench.compare.results.report import markdown
from fleet_bench.compare.sides.machine import described

NAME = "compare"
PICTURES = (".png", ".svg")


def write_tables(
    folder: Path, outcomes: Sequence[ModelComparison], machine: dict[str, Any]
) -> list[Path]:
    """Write Markdown and JSON into `folder`; the paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{NAME}.md", folder / f"{NAME}.json"]
    written[0].write_text(markdown(outcomes, described(machine)), encoding="utf-8")
    written[1].write_text(json.dumps(as_json(outcomes, machine), indent=1) + "\n", encoding="utf-8")
    return written


def write_pictures(folder: Path, outcomes: Sequence[ModelComparison]) -> list[Path]:
    """Write the plot as PNG and SVG; the paths. Raises ImportError without matplotlib, OSError."""
    from fleet_bench.compare.results.plot import plot

    written = [folder / f"{NAME}{suffix}" for suffix in PICTURES]
    plot(outcomes, written)
    return written


def as_json(outcomes: Sequence[ModelComparison], machine: dict[str, Any]) -> dict[str, Any]:
    """Machine and outcomes as one JSON object."""
    return {"machine": machine, "comparisons": [outcome.as_json() for outcome in outcomes]}
