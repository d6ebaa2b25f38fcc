"""The router's settings, read from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_contract.settings import BY_NAME

NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Settings by their names in lower case; durations are in seconds."""

    host: str
    port: int
    log_level: str
    log_format: str
    enable_metrics: bool
    enable_console: bool
    drain_timeout: float
    read_timeout: float
    read_rate: float
    body_timeout: float
    keep_alive_seconds: int
    hold_seconds: float | None
    """None: a default that depends on the source of routes."""
    hold_requests: int
    heartbeat_seconds: float
    keys_file: Path | None
    allow_unauthenticated: bool
    allowed_hosts: tuple[str, ...]
    metrics_port: int | None
    usage_log: Path | None
    usage_log_max_bytes: int
    usage_sink: str | None
    usage_sink_token: str
    cors_origins: tuple[str, ...]
    transcription_model: str | None
    tls_cert: Path | None
    tls_key: Path | None
    namespaces: tuple[str, ...]
    """Empty: the router's own namespace."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> RouterSettings:
        """Raises ValueError with the name of the invalid variable."""
        settings = cls(
            host=BY_NAME["HOST"].read(environ),
            port=BY_NAME["PORT"].read(environ),
            log_level=BY_NAME["LOG_LEVEL"].read(environ),
            log_format=BY_NAME["LOG_FORMAT"].read(environ),
            enable_metrics=BY_NAME["ENABLE_METRICS"].read(environ),
            enable_console=BY_NAME["ENABLE_CONSOLE"].read(environ),
            drain_timeout=BY_NAME["DRAIN_TIMEOUT"].read(environ),
            read_timeout=BY_NAME["READ_TIMEOUT"].read(environ),
            read_rate=BY_NAME["READ_RATE"].read(environ),
            body_timeout=BY_NAME["BODY_TIMEOUT"].read(environ),
            keep_alive_seconds=BY_NAME["KEEP_ALIVE_SECONDS"].read(environ),
            hold_seconds=BY_NAME["HOLD_SECONDS"].read(environ, default=None),
            hold_requests=BY_NAME["HOLD_REQUESTS"].read(environ),
            heartbeat_seconds=BY_NAME["HEARTBEAT_SECONDS"].read(environ),
            keys_file=_path("KEYS_FILE", environ),
            allow_unauthenticated=BY_NAME["ALLOW_UNAUTHENTICATED"].read(environ),
            allowed_hosts=_listed(environ.get("ALLOWED_HOSTS", "")),
            metrics_port=BY_NAME["METRICS_PORT"].read(environ, default=None),
            usage_log=_path("USAGE_LOG", environ),
            usage_log_max_bytes=BY_NAME["USAGE_LOG_MAX_BYTES"].read(environ),
            usage_sink=BY_NAME["USAGE_SINK"].read(environ, default=None),
            usage_sink_token=environ.get("USAGE_SINK_TOKEN", "").strip(),
            cors_origins=_listed(environ.get("CORS_ORIGINS", "")),
            transcription_model=environ.get("TRANSCRIPTION_MODEL", "").strip() or None,
            tls_cert=_path("TLS_CERT", environ),
            tls_key=_path("TLS_KEY", environ),
            namespaces=_names(environ.get("WATCH_NAMESPACES", "")),
        )
        BY_NAME["REMOTE_KEYS"].read(environ, default=())  # checked here, used for each route
        if not 0 <= settings.port <= 65535:
            raise ValueError(f"PORT={settings.port}: must be between 0 and 65535")
        if settings.metrics_port is not None:
            if not 0 < settings.metrics_port <= 65535:
                raise ValueError(f"METRICS_PORT={settings.metrics_port}: must be 1 to 65535")
            if settings.metrics_port == settings.port:
                raise ValueError(f"METRICS_PORT={settings.metrics_port}: must differ from PORT")
        for name, seconds in (
            ("DRAIN_TIMEOUT", settings.drain_timeout),
            ("READ_TIMEOUT", settings.read_timeout),
            ("BODY_TIMEOUT", settings.body_timeout),
            ("KEEP_ALIVE_SECONDS", settings.keep_alive_seconds),
        ):
            if not 0 < seconds < float("inf"):
                raise ValueError(f"{name}={seconds}: must be a positive number of seconds")
        for name, number in (
            ("READ_RATE", settings.read_rate),
            ("HOLD_SECONDS", settings.hold_seconds or 0),
            ("HOLD_REQUESTS", settings.hold_requests),
            ("HEARTBEAT_SECONDS", settings.heartbeat_seconds),
            ("USAGE_LOG_MAX_BYTES", settings.usage_log_max_bytes),
        ):
            if not 0 <= number < float("inf"):
                raise ValueError(f"{name}={number}: must not be negative")
        token = settings.usage_sink_token
        if not (token.isascii() and token.isprintable()):
            raise ValueError("USAGE_SINK_TOKEN: must be of printable ASCII characters")
        if (settings.tls_cert is None) != (settings.tls_key is None):
            raise ValueError("TLS_CERT and TLS_KEY must be set together")
        return settings


def _path(name: str, environ: Mapping[str, str]) -> Path | None:
    raw = environ.get(name, "").strip()
    return Path(raw) if raw else None


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))


def _names(text: str) -> tuple[str, ...]:
    """Raises ValueError for `*` together with names, or an invalid name."""
    names = _listed(text)
    if "*" in names and len(names) > 1:
        raise ValueError(f"WATCH_NAMESPACES={text!r}: `*` excludes other names")
    for name in names:
        if name != "*" and not NAMESPACE.fullmatch(name):
            raise ValueError(f"WATCH_NAMESPACES: {name!r} is not a valid namespace")
    return names
