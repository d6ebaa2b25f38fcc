"""The status a model server reports at /readyz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet_contract.server_protocol import StartStage
from fleet_contract.status import WeightsProgress


@dataclass(frozen=True, slots=True)
class ServerReport:
    """`phase` is a ServerPhase; `stages` maps completed stages to seconds."""

    phase: str
    engine: str = ""
    device: str = ""
    progress: WeightsProgress | None = None
    stages: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: Any) -> ServerReport | None:
        """From the body of /readyz; None for anything else."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("status"), str):
            return None
        stages = raw.get("stages")
        stages = stages if isinstance(stages, Mapping) else {}
        return cls(
            phase=raw["status"],
            engine=_text(raw.get("engine")),
            device=_text(raw.get("device")),
            progress=_progress(raw.get("progress")),
            stages={
                stage.value: float(stages[stage])
                for stage in StartStage
                if isinstance(stages.get(stage), int | float)
            },
        )


def _progress(raw: Any) -> WeightsProgress | None:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("done_bytes"), int | float):
        return None
    numbers = {
        name: int(raw[name])
        for name in ("done_bytes", "total_bytes", "bytes_per_second", "seconds_left")
        if isinstance(raw.get(name), int | float)
    }
    return WeightsProgress.model_validate(numbers)


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""
