"""Requests, errors and usage by key and model since the router was started, from its metrics."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from fleet_router.metrics import RouterMetrics

Row = dict[str, Any]
"""`key`, `model`, and those of `requests`, `errors`, `prompt_tokens`, `cached_tokens`,
`completion_tokens`, `audio_seconds` and `images` that were counted; `cost` has the price of the
usage by currency, if the model has a price."""


@dataclass(frozen=True, slots=True)
class Usage:
    """All rows, and those of each key by its name; the most requests first."""

    rows: list[Row]
    by_key: dict[str, list[Row]]


def usage_of(metrics: RouterMetrics) -> Usage:
    """A row for each key and each of its models."""
    sums: defaultdict[tuple[str, str], defaultdict[str, float]]
    sums = defaultdict(lambda: defaultdict(float))
    for labels, number in metrics.requests.totals():
        of_model = sums[labels["key"], labels["model"]]
        of_model["requests"] += number
        of_model["errors"] += number if int(labels["code"]) >= 400 else 0
    for labels, number in metrics.tokens.totals():
        sums[labels["key"], labels["model"]][f"{labels['kind']}_tokens"] += number
    for name, counter in (("audio_seconds", metrics.audio_seconds), ("images", metrics.images)):
        for labels, number in counter.totals():
            sums[labels["key"], labels["model"]][name] += number
    costs: defaultdict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for labels, amount in metrics.cost.totals():
        costs[labels["key"], labels["model"]][labels["currency"]] = round(amount, 9)
    rows: list[Row]
    rows = [{"key": key, "model": model, **found} for (key, model), found in sums.items()]
    for row in rows:
        if cost := costs.get((row["key"], row["model"])):
            row["cost"] = cost
    rows.sort(key=lambda row: row.get("requests", 0.0), reverse=True)
    by_key: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_key[row["key"]].append(row)
    return Usage(rows, dict(by_key))
