"""Writes the names of settings into the chart's values.schema.json.

`python -m support.chart_schema`, with `tests` and `services` on PYTHONPATH, updates the file.
`operator.settings` and `router.settings` accept no other names: a misspelt one has no effect.
"""

from __future__ import annotations

import json
from pathlib import Path

from fleet_contract.settings import SETTINGS

SCHEMA = Path(__file__).parents[2] / "charts" / "modelfleet" / "values.schema.json"
TRACES = {"pattern": "^OTEL_[A-Z0-9_]+$"}
"""Variables that OpenTelemetry reads in the router, beside those of SETTINGS."""


def names(program: str) -> list[str]:
    """The settings that a program reads."""
    return sorted(one.name for one in SETTINGS if {program, "all"} & set(one.where.split(", ")))


def fresh(text: str) -> str:
    """The schema `text` with current names."""
    schema = json.loads(text)
    schema["$defs"]["operatorSetting"] = {"enum": names("operator")}
    schema["$defs"]["routerSetting"] = {"anyOf": [{"enum": names("router")}, TRACES]}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(fresh(SCHEMA.read_text()))
