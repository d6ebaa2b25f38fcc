"""The table of a fleet that `modelfleet up` prints, and a curl command to try next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import ROUNDED
from rich.table import Table

from fleet_contract.endpoints import main_path
from fleet_contract.spec import ModelSpec, Task
from fleet_contract.spec_parts import MIB

COLUMNS = ("model", "task", "engine", "address", "state", "MiB", "seconds to ready")
NUMBERS = COLUMNS[-2:]
NUMBER_WIDTH = 7
"""Of "seconds"; the head of a column wraps between words."""
UNKNOWN = "unknown"
STOPPED = "stopped"
SCALED_TO_ZERO = "scaled_to_zero"
FAILED = "failed"
UNAVAILABLE = (STOPPED, FAILED)


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One server of a model; `seconds` and `memory_bytes`, which is resident memory, are None where
    no process was started here."""

    model: str
    task: Task
    engine: str
    reason: str | None
    address: str
    state: str
    seconds: float | None
    memory_bytes: int | None = None

    def cells(self) -> tuple[str, ...]:
        """The texts of the row, in the order of COLUMNS."""
        engine = f"{self.engine} ({self.reason})" if self.reason else self.engine
        seconds = "" if self.seconds is None else f"{self.seconds:.1f}"
        memory = "" if self.memory_bytes is None else f"{self.memory_bytes / MIB:.0f}"
        return (self.model, self.task.value, engine, self.address, self.state, memory, seconds)


def row(
    spec: ModelSpec, listed: Sequence[Mapping[str, Any]], address: str, seconds: float | None
) -> ServerRow:
    """The row of a model whose server lists `listed` at `/v1/models`."""
    entry = next((entry for entry in listed if entry.get("id") == spec.model), {})
    return ServerRow(
        spec.model, spec.task, str(entry.get("engine") or spec.engine.value),
        entry.get("engine_reason"), address, str(entry.get("state") or UNKNOWN), seconds,
        entry.get("memory_bytes"),
    )  # fmt: skip


def render(rows: Sequence[ServerRow], *, plain: bool) -> Table:
    """The rows as a table; `plain` is without borders."""
    table = Table(box=None if plain else ROUNDED, pad_edge=not plain, header_style="bold")
    for name in COLUMNS:
        numbers = name in NUMBERS
        table.add_column(
            name, justify="right" if numbers else "left", no_wrap=plain,
            overflow="fold", min_width=NUMBER_WIDTH if numbers else None,
        )  # fmt: skip
    for one in rows:
        table.add_row(*one.cells())
    return table


def next_command(rows: Sequence[ServerRow], base: str) -> str:
    """A curl command for the first chat model that runs, else for the first model that does."""
    running = [one for one in rows if one.state not in UNAVAILABLE] or rows
    first = next((one for one in running if one.task is Task.CHAT), running[0])
    address = f"{base}{main_path(first.task)}"
    if first.task is Task.SPEECH:
        return f"curl {address} -F model={first.model} -F file=@speech.wav"
    body: dict[str, Any] = {"model": first.model}
    if first.task is Task.CHAT:
        body["messages"] = [{"role": "user", "content": "What is the capital of France?"}]
    elif first.task is Task.EMBEDDING:
        body["input"] = "The cat sits outside."
    else:
        body |= {"query": "Which animal purrs?", "documents": ["A cat.", "A car."]}
    return f"curl {address} -H 'Content-Type: application/json' -d '{json.dumps(body)}'"
