"""The router's settings, read once from the environment by `command`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_contract.settings import SETTINGS

NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


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
    hold_seconds: float | None
    """None: as the source of routes suggests."""
    hold_requests: int
    heartbeat_seconds: float
    namespaces: tuple[str, ...]
    """Empty: the router's own."""

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
            hold_seconds=_value("HOLD_SECONDS", environ, default=None),
            hold_requests=_value("HOLD_REQUESTS", environ),
            heartbeat_seconds=_value("HEARTBEAT_SECONDS", environ),
            namespaces=_names(environ.get("WATCH_NAMESPACES", "")),
        )
        if not 0 <= settings.port <= 65535:
            raise ValueError(f"PORT={settings.port}: must be between 0 and 65535")
        for name, seconds in (
            ("DRAIN_TIMEOUT", settings.drain_timeout),
            ("READ_TIMEOUT", settings.read_timeout),
        ):
            if not 0 < seconds < float("inf"):
                raise ValueError(f"{name}={seconds}: must be a positive number of seconds")
        for name, number in (
            ("HOLD_SECONDS", settings.hold_seconds or 0),
            ("HOLD_REQUESTS", settings.hold_requests),
            ("HEARTBEAT_SECONDS", settings.heartbeat_seconds),
        ):
            if not 0 <= number < float("inf"):
                raise ValueError(f"{name}={number}: must not be negative")
        return settings


_OWN = object()


def _names(text: str) -> tuple[str, ...]:
    """Raises ValueError for `*` beside names, or for what is no name of a namespace."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if "*" in names and len(names) > 1:
        raise ValueError(f"WATCH_NAMESPACES={text!r}: `*` stands alone")
    for name in names:
        if name != "*" and not NAMESPACE.fullmatch(name):
            raise ValueError(f"WATCH_NAMESPACES: {name!r} is no name of a namespace")
    return names


def _value(name: str, environ: Mapping[str, str], default: Any = _OWN) -> Any:
    setting = next(setting for setting in SETTINGS if setting.name == name)
    raw = environ.get(name, "").strip()
    if not raw:
        if default is not _OWN:
            return default
        raw = setting.default
    try:
        return setting.parse(raw)
    except ValueError as error:
        raise ValueError(f"{name}={raw!r}: {error}") from error
