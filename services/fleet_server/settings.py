"""The server's settings that are not fields of a spec, read from the environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_contract.cpus import available_cpus
from fleet_contract.settings import BY_NAME


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Timeouts are in seconds; the names are those of the settings in lower case."""

    threads: int
    enable_metrics: bool
    drain_timeout: float
    read_timeout: float
    heartbeat_seconds: float

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> ServerSettings:
        """Raises ValueError that names the variable at fault."""
        return cls(
            threads=_positive("MODELFLEET_THREADS", environ, available_cpus()),
            enable_metrics=BY_NAME["ENABLE_METRICS"].read(environ),
            drain_timeout=_positive("DRAIN_TIMEOUT", environ),
            read_timeout=_positive("READ_TIMEOUT", environ),
            heartbeat_seconds=_number("HEARTBEAT_SECONDS", environ),
        )


def _positive(name: str, environ: Mapping[str, str], *default: float) -> Any:
    number = BY_NAME[name].read(environ, *default)
    if not 0 < number < math.inf:
        raise ValueError(f"{name}={number}: must be a positive number")
    return number


def _number(name: str, environ: Mapping[str, str]) -> float:
    number = float(BY_NAME[name].read(environ))
    if not 0 <= number < math.inf:
        raise ValueError(f"{name}={number}: must be 0 or a positive number")
    return number
