"""The router's settings, read once from the environment by `command`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_contract.settings import SETTINGS


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Seconds are floats; names as in the table of settings."""

    host: str
    port: int
    log_level: str
    log_format: str
    enable_metrics: bool
    drain_timeout: float
    read_timeout: float

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> RouterSettings:
        """Raises ValueError that names the variable at fault."""
        settings = cls(
            host=_value("HOST", environ),
            port=_value("PORT", environ),
            log_level=_value("LOG_LEVEL", environ),
            log_format=_value("LOG_FORMAT", environ),
            enable_metrics=_value("ENABLE_METRICS", environ),
            drain_timeout=_value("DRAIN_TIMEOUT", environ),
            read_timeout=_value("READ_TIMEOUT", environ),
        )
        if not 0 <= settings.port <= 65535:
            raise ValueError(f"PORT={settings.port}: must be between 0 and 65535")
        for name, seconds in (
            ("DRAIN_TIMEOUT", settings.drain_timeout),
            ("READ_TIMEOUT", settings.read_timeout),
        ):
            if not 0 < seconds < float("inf"):
                raise ValueError(f"{name}={seconds}: must be a positive number of seconds")
        return settings


def _value(name: str, environ: Mapping[str, str]) -> Any:
    setting = next(setting for setting in SETTINGS if setting.name == name)
    raw = environ.get(name, "").strip() or setting.default
    try:
        return setting.parse(raw)
    except ValueError as error:
        raise ValueError(f"{name}={raw!r}: {error}") from error
