"""The rows of `modelfleet status`, from the JSON and the metrics of a router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fleet_contract.safe_text import printable

HELD = "modelfleet_router_held"
TOKENS = "modelfleet_router_tokens_total"
COST = "modelfleet_router_cost_total"
SERVERS = "modelfleet_router_servers_price_per_hour"
HOUR_SECONDS = 3600
UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Counters:
    """Held requests and generated tokens since the start of the router, by model; of models with a
    price that of their usage since then and that of an hour of their servers, with the currency."""

    held: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    servers: Mapping[str, float] = field(default_factory=dict)
    currency: Mapping[str, str] = field(default_factory=dict)


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
    usage_per_hour: float | None = None
    """Price of an hour at the present usage, None of a model without a price."""
    servers_per_hour: float | None = None
    """Price of an hour of the present servers."""
    currency: str | None = None
    ready_in_seconds: float | None = None
    """Estimated time until it is ready, of a model that starts."""
    reason: str = ""
    """Why the model is not ready, or how far its start is."""
    namespace: str = ""
    servers: str = ""
    """Ready and desired servers on a cluster, such as `1/2`."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def cells(self, names: Sequence[str] | None = None) -> list[str]:
        """The columns `names` as text on one line each, by default COLUMNS."""
        return [self._cell(name) for name in names or COLUMNS]

    def _cell(self, name: str) -> str:
        if name == "cost":
            return self._cost()
        value = getattr(self, name)
        if value is None:
            return UNKNOWN
        match name:
            case "tokens_per_second":
                return f"{value:.1f}"
            case "memory_bytes":
                return f"{value / 2**20:.0f} MiB"
            case "ready_in_seconds":
                return f"{value:.0f} s"
        return printable(str(value)) or UNKNOWN

    def _cost(self) -> str:
        """Usage and servers, such as `1.20+0.50 EUR/h`."""
        known = [self.usage_per_hour, self.servers_per_hour]
        amounts = "+".join(f"{amount:.2f}" for amount in known if amount is not None)
        return f"{amounts} {printable(self.currency or '')}/h" if amounts else UNKNOWN


FIELDS = tuple(each.name for each in fields(Row))
COLUMNS = (
    "model", "task", "state", "engine", "device", "in_flight", "held", "tokens_per_second",
    "memory_bytes", "cost", "ready_in_seconds", "reason",
)  # fmt: skip
"""The columns of a fleet on one machine."""


def counters(text: str) -> Counters:
    """The counters in a router's metrics. Raises ValueError for text in another format."""
    from prometheus_client.parser import text_string_to_metric_families

    held: dict[str, float] = {}
    tokens: dict[str, float] = {}
    cost: dict[tuple[str, str], float] = {}
    servers: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            model = sample.labels.get("model", "")
            if sample.name == HELD:
                held[model] = held.get(model, 0.0) + sample.value
            elif sample.name == TOKENS and sample.labels.get("kind") == "completion":
                tokens[model] = tokens.get(model, 0.0) + sample.value
            elif sample.name in (COST, SERVERS):
                found = cost if sample.name == COST else servers
                key = model, sample.labels.get("currency", "")
                found[key] = found.get(key, 0.0) + sample.value
    # The servers have the present price; costs of an earlier one in another currency stay in the
    # metrics and are left out.
    currency = dict([*cost, *servers])
    return Counters(
        held, tokens,
        {model: cost[model, name] for model, name in currency.items() if (model, name) in cost},
        {model: servers[model, name] for model, name in currency.items()
         if (model, name) in servers},
        currency,
    )  # fmt: skip


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
    usage = None
    if before is not None and elapsed > 0 and model in now.cost:
        spent = max(now.cost[model] - before.cost.get(model, 0.0), 0.0)
        usage = spent / elapsed * HOUR_SECONDS
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
        usage_per_hour=usage,
        servers_per_hour=now.servers.get(model),
        currency=now.currency.get(model),
        ready_in_seconds=entry.get("ready_in_seconds"),
        reason=entry.get("reason") or "",
    )
