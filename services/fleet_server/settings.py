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
    read_rate: float
    body_timeout: float
    keep_alive_seconds: int
    heartbeat_seconds: float

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> ServerSettings:
        """Raises ValueError that names the variable at fault."""
        return cls(
            threads=_positive("MODELFLEET_THREADS", environ, available_cpus()),
            enable_metrics=BY_NAME["ENABLE_METRICS"].read(environ),
            drain_timeout=_positive("DRAIN_TIMEOUT", environ),
            read_timeout=_positive("READ_TIMEOUT", environ),
            read_rate=_not_negative("READ_RATE", environ),
            body_timeout=_positive("BODY_TIMEOUT", environ),
            keep_alive_seconds=_positive("KEEP_ALIVE_SECONDS", environ),
            heartbeat_seconds=_not_negative("HEARTBEAT_SECONDS", environ),
        )


def _positive(name: str, environ: Mapping[str, str], *default: float) -> Any:
    number = BY_NAME[name].read(environ, *default)
    if not 0 < number < math.inf:
        raise ValueError(f"{name}={number}: must be a positive number")
    return number


def _not_negative(name: str, environ: Mapping[str, str]) -> Any:
    number = BY_NAME[name].read(environ)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name}={number}: must not be negative")
    return number
