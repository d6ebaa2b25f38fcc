"""The server's settings that are not fields of a spec, read from the environment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_contract.cpus import available_cpus
from fleet_contract.settings import SETTINGS

_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Timeouts are in seconds; the names are those of the settings in lower case."""

    threads: int
    enable_metrics: bool
    drain_timeout: float
    read_timeout: float

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> ServerSettings:
        """Raises ValueError that names the variable at fault."""
        return cls(
            threads=_positive("MODELFLEET_THREADS", environ, available_cpus()),
            enable_metrics=_value("ENABLE_METRICS", environ, True),
            drain_timeout=_positive("DRAIN_TIMEOUT", environ, 30.0),
            read_timeout=_positive("READ_TIMEOUT", environ, 30.0),
        )


def _positive(name: str, environ: Mapping[str, str], default: float) -> Any:
    number = _value(name, environ, default)
    if not 0 < number < math.inf:
        raise ValueError(f"{name}={number}: must be a positive number")
    return number


def _value(name: str, environ: Mapping[str, str], default: Any) -> Any:
    raw = environ.get(name, "").strip()
    if not raw:
        return default
    try:
        return _BY_NAME[name].parse(raw)
    except ValueError as error:
        raise ValueError(f"{name}={raw!r}: {error}") from error
