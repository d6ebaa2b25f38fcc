"""Writes Grafana's dashboards from configs/dashboards.yaml into the chart.

`python -m support.dashboards`, with `tests` and `services` on PYTHONPATH, updates the files.
Format: grafana.com/docs, dashboard JSON model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "configs" / "dashboards.yaml"
FOLDER = ROOT / "charts" / "modelfleet" / "files" / "dashboards"
RATE = "$__rate_interval"
SOURCE_OF_DATA = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
"""Of Grafana's grid."""
WIDTHS = {"stat": 4}
HEIGHTS = {"stat": 4}
WIDE, HIGH = 12, 8

Json = dict[str, Any]


def boards() -> dict[str, Json]:
    """The dashboards by the names of their files."""
    found = yaml.safe_load(SOURCE.read_text())["boards"]
    return {f"{board['name']}.json": dashboard(board) for board in found}


def dashboard(board: Mapping[str, Any]) -> Json:
    """Grafana's model of a board."""
    names: Mapping[str, str] = board["variables"]
    matchers = ",".join(f'{name}=~"${name}"' for name in names)
    places = grid(board["panels"])
    return {
        "uid": f"modelfleet-{board['name']}",
        "title": board["title"],
        "tags": ["modelfleet"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus",
             "label": "Data source"},
            *(_variable(name, metric) for name, metric in names.items()),
        ]},
        "panels": [
            _panel(number, panel, place, matchers)
            for number, (panel, place) in enumerate(zip(board["panels"], places, strict=True), 1)
        ],
    }  # fmt: skip


def grid(panels: Sequence[Mapping[str, Any]]) -> Iterator[Json]:
    """The places of panels, in rows from the left; a row has panels of one height."""
    x, y, row = 0, 0, 0
    for panel in panels:
        kind = panel.get("type", "timeseries")
        width, height = WIDTHS.get(kind, WIDE), HEIGHTS.get(kind, HIGH)
        if x + width > COLUMNS or (x and height != row):
            x, y = 0, y + row
        row = height
        yield {"x": x, "y": y, "w": width, "h": height}
        x += width


def _variable(name: str, metric: str) -> Json:
    return {
        "name": name,
        "type": "query",
        "label": name.capitalize(),
        "datasource": SOURCE_OF_DATA,
        "query": f"label_values({metric}, {name})",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(number: int, panel: Mapping[str, Any], place: Json, matchers: str) -> Json:
    made: Json = {
        "id": number,
        "type": panel.get("type", "timeseries"),
        "title": panel["title"],
        "gridPos": place,
        "datasource": SOURCE_OF_DATA,
        "fieldConfig": {
            "defaults": {"unit": panel.get("unit", "short"), "min": 0}, "overrides": [],
        },
        "targets": [
            _target(letter, query, matchers)
            for letter, query in zip("ABCDEFGH", panel["queries"], strict=False)
        ],
    }  # fmt: skip
    if "description" in panel:
        made["description"] = panel["description"]
    return made


def _target(letter: str, query: Mapping[str, Any], matchers: str) -> Json:
    expression = query["expr"].replace("FILTER", matchers).replace("RATE", RATE)
    made: Json = {
        "datasource": SOURCE_OF_DATA,
        "expr": expression,
        "legendFormat": query.get("legend", ""),
        "refId": letter,
    }
    if query.get("exemplar"):
        made["exemplar"] = True
    return made


def text(board: Json) -> str:
    """The file of a dashboard."""
    return json.dumps(board, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name, board in boards().items():
        (FOLDER / name).write_text(text(board))
