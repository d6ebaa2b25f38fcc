"""The rows of `modelfleet status`, from the JSON and the metrics of a router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fleet_contract.safe_text import printable

HELD = "modelfleet_router_held"
TOKENS = "modelfleet_router_tokens_total"
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Counters:
    """Held requests and generated tokens since the start of the router, by model."""

    held: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One model. None is unknown: the server does not report it, or the key may not read it."""

    model: str
    task: str
    state: str
    engine: str
    device: str
    in_flight: int | None
    held: int | None
    tokens_per_second: float | None
    memory_bytes: int | None
    reason: str = ""
    """Why the model is not ready, or how far its start is."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def cells(self) -> list[str]:
        """The fields as text on one line, in the order of FIELDS."""
        return [
            *(printable(text) for text in (self.model, self.task, self.state)),
            *(printable(text) for text in (self.engine, self.device)),
            *(UNKNOWN if count is None else str(count) for count in (self.in_flight, self.held)),
            UNKNOWN if self.tokens_per_second is None else f"{self.tokens_per_second:.1f}",
            UNKNOWN if self.memory_bytes is None else f"{self.memory_bytes / 2**20:.0f} MiB",
            printable(self.reason) or UNKNOWN,
        ]


FIELDS = tuple(each.name for each in fields(Row))


def counters(text: str) -> Counters:
    """The counters in a router's metrics. Raises ValueError for text in another format."""
    from prometheus_client.parser import text_string_to_metric_families

    held: dict[str, float] = {}
    tokens: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            model = sample.labels.get("model", "")
            if sample.name == HELD:
                held[model] = held.get(model, 0.0) + sample.value
            elif sample.name == TOKENS and sample.labels.get("kind") == "completion":
                tokens[model] = tokens.get(model, 0.0) + sample.value
    return Counters(held, tokens)


def rows(
    listed: Any,
    loads: Any,
    now: Counters,
    before: Counters | None = None,
    elapsed: float = 0.0,
) -> list[Row]:
    """A row for each model of `/v1/models`, without adapters.

    `loads` is the report at /load, None where it may not be read. With the counters of `elapsed`
    seconds before, rows have tokens per second. Raises ValueError for other documents.
    """
    try:
        entries = [entry for entry in listed["data"] if not entry.get("parent")]
        reported = None if loads is None else loads["models"]
        return [_row(entry, reported, now, before, elapsed) for entry in entries]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the response is not that of a Modelfleet router: {error!r}") from error


def _row(
    entry: dict[str, Any],
    loads: dict[str, Any] | None,
    now: Counters,
    before: Counters | None,
    elapsed: float,
) -> Row:
    model = entry["id"]
    rate = None
    if before is not None and elapsed > 0:
        # Less than before where the router was restarted.
        rate = max(now.tokens.get(model, 0.0) - before.tokens.get(model, 0.0), 0.0) / elapsed
    return Row(
        model=model,
        task=entry["task"],
        state=entry["state"],
        engine=entry["engine"],
        device=entry["device"],
        in_flight=None if loads is None else loads.get(model, {}).get("in_flight", 0),
        held=None if loads is None else round(now.held.get(model, 0.0)),
        tokens_per_second=rate,
        memory_bytes=entry.get("memory_bytes"),
        reason=entry.get("reason") or "",
    )
